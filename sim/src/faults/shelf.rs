//! The objects of a machine's archive: a store in memory, with the disk's troubles.
//!
//! The program keeps its archive in a folder: an object is written beside its place, synced and moved
//! there. So a put is atomic here, and durable once it returns. One that was under way when the machine
//! ended is there as a whole or not at all, as is drawn then; one that fails leaves nothing.

use super::disk::{Disk, Trouble};
use crate::world::machine::Life;
use async_trait::async_trait;
use bytes::Bytes;
use evidence::Archive;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result, memory::InMemory, path::Path,
};
use rand::{RngExt as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long a put takes.
const PUT: Duration = Duration::from_millis(1);

/// What outlives a crash.
#[derive(Debug, Default)]
pub struct Objects {
    store: Arc<InMemory>,
    /// What is being put.
    under_way: Mutex<BTreeMap<Path, PutPayload>>,
}

impl Objects {
    fn under_way(&self) -> MutexGuard<'_, BTreeMap<Path, PutPayload>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The archive as it is, for who only looks.
    pub fn archive(&self) -> Archive {
        Archive::new(Arc::clone(&self.store) as Arc<dyn ObjectStore>)
    }

    /// Does what a crash does, once all that ran on the machine has ended.
    ///
    /// # Errors
    /// Never: memory does not fail.
    pub async fn crash(&self, rng: &mut StdRng) -> Result<()> {
        let under_way = std::mem::take(&mut *self.under_way());
        for (path, payload) in under_way {
            if rng.random_bool(0.5) {
                self.store.put(&path, payload).await?;
            }
        }
        Ok(())
    }
}

/// The objects as one life of a machine sees them.
#[derive(Debug)]
pub struct Shelf {
    objects: Arc<Objects>,
    life: Arc<Life>,
}

impl Shelf {
    /// The objects in a life of their machine.
    pub const fn new(objects: Arc<Objects>, life: Arc<Life>) -> Self {
        Self { objects, life }
    }

    fn disk(&self) -> &Disk {
        &self.life.disk
    }
}

impl fmt::Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shelf of machine {}", self.life.machine)
    }
}

#[async_trait]
impl ObjectStore for Shelf {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.life.gate().await;
        self.objects.under_way().insert(location.clone(), payload.clone());
        tokio::time::sleep(PUT).await;
        self.life.gate().await;
        self.objects.under_way().remove(location);
        let tried = self.disk().attempt(&[Trouble::Write, Trouble::Sync, Trouble::Full]);
        tried.map_err(|error| Error::Generic { store: "shelf", source: error.into() })?;
        self.objects.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.life.gate().await;
        self.objects.store.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.life.gate().await;
        self.objects.store.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.objects.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.store.copy_opts(from, to, options).await
    }
}
