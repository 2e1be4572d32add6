//! Buckets and objects: making, replacing, removing, listing in key order.

use super::{
    BLOB_NEXT, Blob, BlobId, BlobRef, Bucket, Extent, IndexError, Object, Reader, Rows, Tables,
    cut, decode, from, get, more, put, under,
};
use crate::num::wide;

/// An etag condition of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `*`: any object.
    Any,
    /// This etag, without quotes.
    Is(String),
}

impl Tag {
    /// Whether `etag`, if there is an object, matches.
    pub fn matches(&self, etag: Option<&str>) -> bool {
        match (self, etag) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::Is(tag), Some(etag)) => tag == etag,
        }
    }
}

/// What must hold of the object that a request replaces or removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// `If-Match`.
    pub matches: Option<Tag>,
    /// `If-None-Match`.
    pub differs: Option<Tag>,
}

impl Expect {
    /// Whether it holds of the object `key` as it is.
    ///
    /// # Errors
    /// [`IndexError::NoSuchKey`], [`IndexError::Condition`].
    pub fn check(&self, key: &str, old: Option<&Object>) -> Result<(), IndexError> {
        let etag = old.map(|object| object.etag.as_str());
        if self.matches.is_some() && etag.is_none() {
            return Err(IndexError::NoSuchKey(key.to_owned()));
        }
        let matched = self.matches.as_ref().is_none_or(|tag| tag.matches(etag));
        let differs = self.differs.as_ref().is_none_or(|tag| !tag.matches(etag));
        if matched && differs { Ok(()) } else { Err(IndexError::Condition) }
    }
}

/// An object to be put.
#[derive(Clone, Debug)]
pub struct ObjectPut {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// What must hold of the one it replaces.
    pub expect: Expect,
    /// The row. Its blobs' references are taken by this call.
    pub object: Object,
}

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct Query<'a> {
    /// Keys that begin with this.
    pub prefix: &'a str,
    /// Keys that go on to this after the prefix are rolled up into one common prefix.
    pub delimiter: Option<&'a str>,
    /// Only what comes after this key, or after all keys rolled up in this common prefix.
    pub after: Option<&'a str>,
    /// At most so many keys and common prefixes.
    pub limit: usize,
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Keys with their objects, ascending.
    pub objects: Vec<(String, Object)>,
    /// Common prefixes, ascending.
    pub prefixes: Vec<String>,
    /// If there is more: the key or common prefix to list after.
    pub next: Option<String>,
}

pub(super) fn object_key(bucket: &str, key: &str) -> Vec<u8> {
    [bucket.as_bytes(), &[0], key.as_bytes()].concat()
}

fn expect_bucket(buckets: &impl Rows, bucket: &str) -> Result<Bucket, IndexError> {
    get(buckets, bucket.as_bytes())?.ok_or_else(|| IndexError::NoSuchBucket(bucket.to_owned()))
}

impl Tables<'_> {
    /// Makes a bucket.
    ///
    /// # Errors
    /// [`IndexError::BucketExists`].
    pub fn create_bucket(&mut self, name: &str, now_ms: u64) -> Result<(), IndexError> {
        if get::<Bucket>(&self.buckets, name.as_bytes())?.is_some() {
            return Err(IndexError::BucketExists(name.to_owned()));
        }
        put(&mut self.buckets, name.as_bytes(), &Bucket { created_ms: now_ms })
    }

    /// Removes an empty bucket and aborts its uploads.
    ///
    /// # Errors
    /// [`IndexError::NoSuchBucket`], [`IndexError::BucketNotEmpty`].
    pub fn delete_bucket(&mut self, name: &str, now_ms: u64) -> Result<(), IndexError> {
        self.expect_bucket(name)?;
        let prefix = object_key(name, "");
        if under(&self.objects, &prefix)?.next().transpose()?.is_some() {
            return Err(IndexError::BucketNotEmpty(name.to_owned()));
        }
        self.abort_all(name, now_ms)?;
        cut(&mut self.buckets, name.as_bytes())?;
        Ok(())
    }

    /// The bucket's row.
    ///
    /// # Errors
    /// [`IndexError::NoSuchBucket`].
    pub fn expect_bucket(&self, name: &str) -> Result<Bucket, IndexError> {
        expect_bucket(&self.buckets, name)
    }

    /// Whether the object could be put now; changes nothing.
    ///
    /// # Errors
    /// [`IndexError::NoSuchBucket`], [`IndexError::Condition`].
    pub fn check_put(&self, item: &ObjectPut) -> Result<(), IndexError> {
        self.expect_bucket(&item.bucket)?;
        let old: Option<Object> = get(&self.objects, &object_key(&item.bucket, &item.key))?;
        item.expect.check(&item.key, old.as_ref())
    }

    /// Puts an object that shares all bytes with one that is there.
    ///
    /// # Errors
    /// As [`Tables::put_object`].
    pub fn put_copy(&mut self, item: &ObjectPut, now_ms: u64) -> Result<(), IndexError> {
        self.check_put(item)?;
        item.object.blobs.iter().try_for_each(|blob| self.retain(blob.blob))?;
        self.put_object(item, now_ms)
    }

    /// Puts an object in the place of whatever has its key.
    ///
    /// # Errors
    /// [`IndexError::NoSuchBucket`], [`IndexError::Condition`].
    pub fn put_object(&mut self, item: &ObjectPut, now_ms: u64) -> Result<(), IndexError> {
        self.expect_bucket(&item.bucket)?;
        let key = object_key(&item.bucket, &item.key);
        let old: Option<Object> = get(&self.objects, &key)?;
        item.expect.check(&item.key, old.as_ref())?;
        self.stats.objects = more(self.stats.objects, 1)?;
        self.stats.object_bytes = more(self.stats.object_bytes, item.object.bytes)?;
        put(&mut self.objects, &key, &item.object)?;
        old.map_or(Ok(()), |old| self.drop_object(&old, now_ms))
    }

    /// Removes an object; whether there was one.
    ///
    /// # Errors
    /// [`IndexError::NoSuchBucket`], [`IndexError::Condition`].
    pub fn delete_object(
        &mut self,
        bucket: &str,
        key: &str,
        expect: &Expect,
        now_ms: u64,
    ) -> Result<bool, IndexError> {
        self.expect_bucket(bucket)?;
        let row = object_key(bucket, key);
        let old: Option<Object> = get(&self.objects, &row)?;
        expect.check(key, old.as_ref())?;
        let Some(old) = old else { return Ok(false) };
        cut(&mut self.objects, &row)?;
        self.drop_object(&old, now_ms)?;
        Ok(true)
    }

    fn drop_object(&mut self, old: &Object, now_ms: u64) -> Result<(), IndexError> {
        self.stats.objects = self.stats.objects.saturating_sub(1);
        self.stats.object_bytes = self.stats.object_bytes.saturating_sub(old.bytes);
        old.blobs.iter().try_for_each(|blob| self.release(blob.blob, now_ms))
    }

    /// Makes a blob of extents in segments that are in the index. The caller owns one mention of it.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if a segment is missing.
    pub fn add_blob(&mut self, extents: Vec<Extent>) -> Result<BlobRef, IndexError> {
        let blob = BlobId(get(&self.meta, BLOB_NEXT)?.unwrap_or(1));
        put(&mut self.meta, BLOB_NEXT, &more(blob.0, 1)?)?;
        let mut bytes = 0;
        for extent in &extents {
            bytes += u64::from(extent.bytes);
            self.place(blob, extent)?;
        }
        put(&mut self.blobs, &blob.0.to_be_bytes(), &Blob { refs: 1, extents })?;
        Ok(BlobRef { blob, bytes })
    }

    /// One more mention of a blob.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if there is no such blob.
    pub fn retain(&mut self, blob: BlobId) -> Result<(), IndexError> {
        let mut row: Blob = self.expect_blob(blob)?;
        row.refs = row.refs.checked_add(1).ok_or(IndexError::Damaged("too many mentions"))?;
        put(&mut self.blobs, &blob.0.to_be_bytes(), &row)
    }

    /// One mention less; the last one frees its extents.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if there is no such blob.
    pub fn release(&mut self, blob: BlobId, now_ms: u64) -> Result<(), IndexError> {
        let mut row: Blob = self.expect_blob(blob)?;
        row.refs = row.refs.saturating_sub(1);
        if row.refs > 0 {
            return put(&mut self.blobs, &blob.0.to_be_bytes(), &row);
        }
        cut(&mut self.blobs, &blob.0.to_be_bytes())?;
        row.extents.iter().try_for_each(|extent| self.unplace(extent, now_ms))
    }

    pub(super) fn expect_blob(&self, blob: BlobId) -> Result<Blob, IndexError> {
        get(&self.blobs, &blob.0.to_be_bytes())?
            .ok_or(IndexError::Damaged("a blob is mentioned and missing"))
    }

    /// The object, to be copied in the same transaction.
    ///
    /// # Errors
    /// [`IndexError::NoSuchBucket`], [`IndexError::NoSuchKey`].
    pub fn expect_object(&self, bucket: &str, key: &str) -> Result<Object, IndexError> {
        self.expect_bucket(bucket)?;
        get(&self.objects, &object_key(bucket, key))?
            .ok_or_else(|| IndexError::NoSuchKey(key.to_owned()))
    }
}

impl Reader {
    /// The bucket's row.
    ///
    /// # Errors
    /// [`IndexError::NoSuchBucket`].
    pub fn bucket(&self, name: &str) -> Result<Bucket, IndexError> {
        expect_bucket(&self.buckets, name)
    }

    /// All buckets by name.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn buckets(&self) -> Result<Vec<(String, Bucket)>, IndexError> {
        under(&self.buckets, &[])?
            .map(|row| {
                let (name, row) = row?;
                Ok((text(name.value())?, decode(row.value())?))
            })
            .collect()
    }

    /// An object.
    ///
    /// # Errors
    /// [`IndexError::NoSuchBucket`], [`IndexError::NoSuchKey`].
    pub fn object(&self, bucket: &str, key: &str) -> Result<Object, IndexError> {
        if let Some(object) = get(&self.objects, &object_key(bucket, key))? {
            return Ok(object);
        }
        self.bucket(bucket)?;
        Err(IndexError::NoSuchKey(key.to_owned()))
    }

    /// The extents of blobs, in order.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if one is missing.
    pub fn extents(&self, blobs: &[BlobRef]) -> Result<Vec<Extent>, IndexError> {
        let mut extents = Vec::new();
        for blob in blobs {
            let row: Blob = get(&self.blobs, &blob.blob.0.to_be_bytes())?
                .ok_or(IndexError::Damaged("a blob is mentioned and missing"))?;
            extents.extend(row.extents);
        }
        Ok(extents)
    }

    /// A page of a bucket's keys, in the order of their bytes.
    ///
    /// # Errors
    /// [`IndexError::NoSuchBucket`].
    pub fn list(&self, bucket: &str, query: &Query<'_>) -> Result<Listing, IndexError> {
        self.bucket(bucket)?;
        let mut walk = Walk::new(bucket, query);
        let mut listing = Listing::default();
        while let Some(start) = walk.start.take() {
            for row in from(&self.objects, &walk.base, &start)? {
                let (key, row) = row?;
                let key = text(&key.value()[bucket.len() + 1..])?;
                match walk.see(&key) {
                    Seen::Skip => {}
                    Seen::Key if listing.is_full(query.limit) => return Ok(listing.cut_off()),
                    Seen::Key => listing.objects.push((key, decode(row.value())?)),
                    Seen::Prefix(prefix) => {
                        if query.after != Some(prefix.as_str()) {
                            if listing.is_full(query.limit) {
                                return Ok(listing.cut_off());
                            }
                            listing.prefixes.push(prefix);
                        }
                        break;
                    }
                }
            }
        }
        Ok(listing)
    }
}

pub(super) fn text(bytes: &[u8]) -> Result<String, IndexError> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|_| IndexError::Damaged("a name is not utf-8"))
}

impl Listing {
    fn is_full(&self, limit: usize) -> bool {
        wide(self.objects.len()) + wide(self.prefixes.len()) >= wide(limit)
    }

    fn cut_off(mut self) -> Self {
        let key = self.objects.last().map(|(key, _)| key);
        self.next = key.max(self.prefixes.last()).cloned();
        self
    }
}

/// Where a listing stands: it jumps over the keys of a common prefix instead of reading them.
struct Walk<'a> {
    query: &'a Query<'a>,
    /// What all rows wanted begin with.
    base: Vec<u8>,
    /// Where to go on, if there is anything.
    start: Option<Vec<u8>>,
    bucket: &'a str,
}

enum Seen {
    Skip,
    Key,
    Prefix(String),
}

impl<'a> Walk<'a> {
    fn new(bucket: &'a str, query: &'a Query<'a>) -> Self {
        let base = object_key(bucket, query.prefix);
        let after = query.after.map(|after| object_key(bucket, after));
        let start = Some(after.map_or_else(|| base.clone(), |after| after.max(base.clone())));
        Self { query, base, start, bucket }
    }

    fn see(&mut self, key: &str) -> Seen {
        if self.query.after == Some(key) {
            return Seen::Skip;
        }
        let rest = &key[self.query.prefix.len()..];
        let Some((at, delimiter)) = self
            .query
            .delimiter
            .and_then(|delimiter| rest.find(delimiter).map(|at| (at, delimiter)))
        else {
            return Seen::Key;
        };
        let prefix = &key[..self.query.prefix.len() + at + delimiter.len()];
        // The smallest key that is above all keys with the prefix: UTF-8 never has the byte 255.
        let mut beyond = object_key(self.bucket, prefix);
        beyond.push(0xff);
        self.start = Some(beyond);
        Seen::Prefix(prefix.to_owned())
    }
}
