//! What a customer asks of the shop, through the S3 side of the service, and what comes of it.
//!
//! What can only be seen at the moment of the answer is looked at there: whether enough depots had said that
//! what is acknowledged is durable, and whether what could not be read could have been.

use super::{truth, yard::Yard};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use s3_service::{index::Index, s3::Face};
use s3s::{
    S3 as _, S3Error, S3ErrorCode, S3Request,
    dto::{
        CompleteMultipartUploadInput, CompletedMultipartUpload, CompletedPart, CopyObjectInput,
        CopySource, CreateBucketInput, CreateMultipartUploadInput, DeleteObjectInput,
        GetObjectInput, ListObjectsV2Input, PutObjectInput, Range, StreamingBlob, UploadPartInput,
    },
};
use std::{collections::BTreeMap, sync::Arc};

/// Bytes of an object that come at once.
const CHUNK: usize = 10_000;
/// Entries of a page.
const PAGE: i32 = 5;

/// The bytes of an object, by what they are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contents {
    /// From what they follow.
    pub seed: u64,
    /// How many.
    pub bytes: usize,
}

impl Contents {
    /// The bytes.
    pub fn make(self) -> Vec<u8> {
        let mut bytes = vec![0; self.bytes];
        blake3::Hasher::new().update(&self.seed.to_be_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }
}

/// A request. Keys are of the customer's bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Makes the bucket.
    Bucket,
    /// Puts an object; one that is cut breaks off before its end.
    Put(String, Contents, bool),
    /// Puts an object in parts of so many bytes, the last with the rest.
    Parts(String, Contents, usize),
    /// Copies the first to the second.
    Copy(String, String),
    /// Reads all, or from the first byte to the second.
    Get(String, Option<(u64, u64)>),
    /// Deletes.
    Delete(String),
    /// Lists all.
    List,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// Bytes.
    Bytes(Vec<u8>),
    /// Keys and lengths.
    Keys(BTreeMap<String, u64>),
    /// There is no such object or bucket.
    Nothing,
    /// The range is none of it.
    NoRange,
    /// It failed.
    Failed(String),
    /// It was wrong.
    Wrong(String),
}

/// Where it is asked.
#[derive(Clone, Debug)]
pub struct Counter {
    /// The service.
    pub face: Face,
    /// Its index.
    pub index: Arc<Index>,
    /// The depots.
    pub yard: Arc<Yard>,
    /// Shards that have to be durable before anything is acknowledged.
    pub needed: usize,
    /// The customer's bucket.
    pub bucket: String,
}

fn request<T>(input: T) -> S3Request<T> {
    S3Request {
        input,
        method: Default::default(),
        uri: Default::default(),
        headers: Default::default(),
        extensions: Default::default(),
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    }
}

fn body(bytes: &[u8], is_cut: bool) -> StreamingBlob {
    let end = if is_cut { bytes.len() / 2 } else { bytes.len() };
    let mut chunks: Vec<Result<Bytes, std::io::Error>> =
        bytes[..end].chunks(CHUNK).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    if is_cut {
        chunks.push(Err(std::io::Error::other("the customer went")));
    }
    // Each chunk comes by itself: others have their turn between.
    StreamingBlob::wrap(stream::iter(chunks).then(|chunk| async move {
        tokio::task::yield_now().await;
        chunk
    }))
}

fn length(bytes: usize) -> Option<i64> {
    i64::try_from(bytes).ok()
}

fn failed(error: &S3Error) -> Outcome {
    match error.code() {
        S3ErrorCode::NoSuchKey | S3ErrorCode::NoSuchBucket => Outcome::Nothing,
        S3ErrorCode::InvalidRange => Outcome::NoRange,
        code => {
            let message = error.message().unwrap_or_default();
            Outcome::Failed(format!("{}: {message}", code.as_str()))
        }
    }
}

impl Counter {
    /// Asks, and waits for what comes of it.
    pub async fn ask(self, op: Op) -> Outcome {
        let asked = match &op {
            Op::Bucket => self.create().await,
            Op::Put(key, contents, is_cut) => self.put(key, *contents, *is_cut).await,
            Op::Parts(key, contents, each) => self.parts(key, *contents, *each).await,
            Op::Copy(from, to) => self.copy(from, to).await,
            Op::Get(key, range) => return self.get(key, *range).await,
            Op::Delete(key) => self.delete(key).await,
            Op::List => self.list().await,
        };
        let outcome = asked.unwrap_or_else(|error| failed(&error));
        let (Op::Put(key, ..) | Op::Parts(key, ..) | Op::Copy(_, key)) = &op else {
            return outcome;
        };
        if outcome != Outcome::Done {
            return outcome;
        }
        let there = self.index.reader().map_err(|error| error.to_string()).and_then(|reader| {
            truth::acknowledged(&reader, (&self.bucket, key), self.needed, &self.yard)
        });
        there.map_or_else(Outcome::Wrong, |()| Outcome::Done)
    }

    async fn create(&self) -> Result<Outcome, S3Error> {
        let input = CreateBucketInput { bucket: self.bucket.clone(), ..Default::default() };
        match self.face.create_bucket(request(input)).await {
            Ok(_) => Ok(Outcome::Done),
            Err(error) if *error.code() == S3ErrorCode::BucketAlreadyOwnedByYou => {
                Ok(Outcome::Done)
            }
            Err(error) => Err(error),
        }
    }

    async fn put(&self, key: &str, contents: Contents, is_cut: bool) -> Result<Outcome, S3Error> {
        let input = PutObjectInput {
            bucket: self.bucket.clone(),
            key: key.to_owned(),
            content_length: length(contents.bytes),
            body: Some(body(&contents.make(), is_cut)),
            ..Default::default()
        };
        self.face.put_object(request(input)).await.map(|_| Outcome::Done)
    }

    async fn parts(&self, key: &str, contents: Contents, each: usize) -> Result<Outcome, S3Error> {
        let (bucket, key) = (self.bucket.clone(), key.to_owned());
        let input = CreateMultipartUploadInput {
            bucket: bucket.clone(),
            key: key.clone(),
            ..Default::default()
        };
        let begun = self.face.create_multipart_upload(request(input)).await?;
        let upload = begun.output.upload_id.unwrap_or_default();
        let mut parts = Vec::new();
        for (number, bytes) in (1..).zip(contents.make().chunks(each.max(1))) {
            let input = UploadPartInput {
                bucket: bucket.clone(),
                key: key.clone(),
                upload_id: upload.clone(),
                part_number: number,
                content_length: length(bytes.len()),
                body: Some(body(bytes, false)),
                ..Default::default()
            };
            let put = self.face.upload_part(request(input)).await?;
            let part = CompletedPart {
                e_tag: put.output.e_tag,
                part_number: Some(number),
                ..Default::default()
            };
            parts.push(part);
        }
        let input = CompleteMultipartUploadInput {
            bucket,
            key,
            upload_id: upload,
            multipart_upload: Some(CompletedMultipartUpload { parts: Some(parts) }),
            ..Default::default()
        };
        self.face.complete_multipart_upload(request(input)).await.map(|_| Outcome::Done)
    }

    async fn copy(&self, from: &str, to: &str) -> Result<Outcome, S3Error> {
        let source = CopySource::Bucket {
            bucket: self.bucket.clone().into(),
            key: from.into(),
            version_id: None,
        };
        let input = CopyObjectInput::builder()
            .bucket(self.bucket.clone())
            .key(to.to_owned())
            .copy_source(source)
            .build()
            .map_err(S3Error::internal_error)?;
        self.face.copy_object(request(input)).await.map(|_| Outcome::Done)
    }

    async fn delete(&self, key: &str) -> Result<Outcome, S3Error> {
        let input = DeleteObjectInput {
            bucket: self.bucket.clone(),
            key: key.to_owned(),
            ..Default::default()
        };
        self.face.delete_object(request(input)).await.map(|_| Outcome::Done)
    }

    async fn list(&self) -> Result<Outcome, S3Error> {
        let (mut keys, mut after) = (BTreeMap::new(), None);
        loop {
            let input = ListObjectsV2Input {
                bucket: self.bucket.clone(),
                max_keys: Some(PAGE),
                continuation_token: after,
                ..Default::default()
            };
            let page = self.face.list_objects_v2(request(input)).await?.output;
            for object in page.contents.unwrap_or_default() {
                let bytes = u64::try_from(object.size.unwrap_or_default()).unwrap_or_default();
                keys.insert(object.key.unwrap_or_default(), bytes);
            }
            after = page.next_continuation_token;
            if after.is_none() {
                return Ok(Outcome::Keys(keys));
            }
        }
    }

    /// Reads. What cannot be read though enough shards of it are there, and nothing befell anybody
    /// meanwhile, is wrong.
    async fn get(&self, key: &str, range: Option<(u64, u64)>) -> Outcome {
        let before = self.yard.mishaps();
        let input = GetObjectInput {
            bucket: self.bucket.clone(),
            key: key.to_owned(),
            range: range.map(|(first, last)| Range::Int { first, last: Some(last) }),
            ..Default::default()
        };
        let error = match self.face.get_object(request(input)).await {
            Ok(answer) => match collect(answer.output.body).await {
                Ok(bytes) => return Outcome::Bytes(bytes),
                Err(error) => error,
            },
            Err(error) => match failed(&error) {
                Outcome::Failed(error) => error,
                outcome => return outcome,
            },
        };
        if self.yard.mishaps() != before {
            return Outcome::Failed(error);
        }
        let Ok(reader) = self.index.reader() else { return Outcome::Failed(error) };
        let truth = reader.object(&self.bucket, key).and_then(|object| {
            let extents = reader.extents(&object.blobs)?;
            truth::of(&reader, &extents, &self.yard)
        });
        let Ok(truth) = truth else { return Outcome::Failed(error) };
        if truth.iter().all(|of| of.readable >= of.needed) {
            let bucket = &self.bucket;
            return Outcome::Wrong(format!(
                "{bucket}/{key} is not readable though enough of it is there: {error}"
            ));
        }
        Outcome::Failed(error)
    }
}

async fn collect(body: Option<StreamingBlob>) -> Result<Vec<u8>, String> {
    let Some(mut body) = body else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    while let Some(bytes) = body.next().await {
        all.extend_from_slice(&bytes.map_err(|error| error.to_string())?);
    }
    Ok(all)
}
