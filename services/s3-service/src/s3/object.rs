//! Objects: put, get, head, delete.

use super::{
    Face, METADATA_BYTES_MAX,
    body::{etag, fields, incoming, sums},
    conditions::{Conditions, tag},
    shared::{described, headers, refuse_unsupported, said, sought},
};
use crate::{
    checksum::{self, Algorithm},
    codec::SegmentId,
    index::{self, Expect, IndexError, ObjectPut},
    store::{Answer, Body, Target},
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, dto::*, s3_error};
use std::{collections::BTreeMap, ops::Range as Span};

/// Refuses what is not supported and must not be ignored.
pub(super) fn refuse(wanted: &[(bool, &str)]) -> S3Result<()> {
    match wanted.iter().find(|(is, _)| *is) {
        Some((_, what)) => Err(s3_error!(NotImplemented, "{what} is not supported")),
        None => Ok(()),
    }
}

/// The encoding of an object without that of the request that brought it: tools name `aws-chunked`
/// beside it, or alone, and S3 does not keep that.
pub(super) fn encoding(given: Option<String>) -> Option<String> {
    let given = given?;
    let own = given.split(',').map(str::trim);
    let own: Vec<_> =
        own.filter(|one| !one.is_empty() && !one.eq_ignore_ascii_case("aws-chunked")).collect();
    (!own.is_empty()).then(|| own.join(", "))
}

/// Whether a server-side encryption is asked for that is not ours. All content is sealed with
/// AES-256 anyway.
pub(super) fn is_foreign(encryption: Option<&ServerSideEncryption>) -> bool {
    encryption.is_some_and(|encryption| encryption.as_str() != ServerSideEncryption::AES256)
}

/// User metadata, in order and within its limit.
pub(super) fn metadata(given: Option<Metadata>) -> S3Result<BTreeMap<String, String>> {
    let metadata: BTreeMap<_, _> = given.unwrap_or_default().into_iter().collect();
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        return Err(s3_error!(MetadataTooLarge));
    }
    Ok(metadata)
}

/// An empty row with these headers.
pub(super) const fn blank(headers: index::Headers) -> index::Object {
    index::Object {
        bytes: 0,
        etag: String::new(),
        modified_ms: 0,
        headers,
        checksum: None,
        blobs: Vec::new(),
        parts: 0,
    }
}

/// The class under which everything is stored.
pub(super) fn check_class(class: Option<&StorageClass>) -> S3Result<()> {
    match class.map(StorageClass::as_str) {
        None | Some(StorageClass::STANDARD) => Ok(()),
        Some(_) => Err(s3_error!(InvalidStorageClass)),
    }
}

/// The etag and the checksum of an object as S3's outputs carry them.
pub(super) struct Shown {
    pub(super) etag: ETag,
    pub(super) sums: [Option<String>; 5],
    pub(super) kind: Option<ChecksumType>,
}

pub(super) fn shown(object: &index::Object) -> Shown {
    let etag = ETag::Strong(object.etag.clone());
    let Some((sum, algorithm)) =
        object.checksum.as_ref().and_then(|sum| Some((sum, Algorithm::from_code(sum.algorithm)?)))
    else {
        return Shown { etag, sums: Default::default(), kind: None };
    };
    let value = checksum::encode(&sum.value);
    let (text, kind) = match sum.parts {
        0 => (value, ChecksumType::FULL_OBJECT),
        parts => (format!("{value}-{parts}"), ChecksumType::COMPOSITE),
    };
    Shown { etag, sums: fields(algorithm, &text), kind: Some(ChecksumType::from_static(kind)) }
}

/// An object as it is found for a read.
struct Found {
    object: index::Object,
    extents: Vec<index::Extent>,
    /// The first extent's segment.
    first: Option<(SegmentId, index::Segment)>,
    span: Span<u64>,
    content_range: Option<String>,
    parts_count: Option<i32>,
}

/// What a read asks for.
pub(super) struct Sought {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) conditions: Conditions,
    pub(super) range: Option<Range>,
    pub(super) part: Option<i32>,
    pub(super) version: Option<String>,
}

impl Face {
    pub(super) async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<PutObjectOutput> {
        let input = request.input;
        refuse_unsupported!(input, (input.write_offset_bytes.is_some(), "appending"));
        let incoming = incoming(input.body, said!(request, input, None))?;
        let headers = headers!(input);
        let item = ObjectPut {
            bucket: input.bucket,
            key: input.key,
            expect: Expect {
                matches: input.if_match.map(tag),
                differs: input.if_none_match.map(tag),
            },
            object: blank(headers),
        };
        // A body for a bucket that is not there, or against a condition, is not worth reading.
        self.check_early(&item).await?;
        let digests = self.intake.take(Target::Object(Box::new(item)), incoming).await?;
        let [crc32, crc32c, sha1, sha256, crc64nvme] = sums(&digests);
        Ok(PutObjectOutput {
            e_tag: Some(etag(&digests)),
            checksum_crc32: crc32,
            checksum_crc32c: crc32c,
            checksum_sha1: sha1,
            checksum_sha256: sha256,
            checksum_crc64nvme: crc64nvme,
            checksum_type: digests
                .checksum
                .map(|_| ChecksumType::from_static(ChecksumType::FULL_OBJECT)),
            ..Default::default()
        })
    }

    async fn check_early(&self, item: &ObjectPut) -> S3Result<()> {
        if item.expect == Expect::default() {
            // Buckets are few, so this row is in memory: another thread costs more than reading it.
            self.writer().index().read(|reader| reader.bucket(&item.bucket))?;
            return Ok(());
        }
        let (bucket, key, expect) = (item.bucket.clone(), item.key.clone(), item.expect.clone());
        self.writer()
            .read(move |reader| {
                let old = match reader.object(&bucket, &key) {
                    Ok(object) => Some(object),
                    Err(IndexError::NoSuchKey(_)) => None,
                    Err(error) => return Err(error),
                };
                expect.check(&key, old.as_ref())
            })
            .await?;
        Ok(())
    }

    async fn find(&self, sought: Sought) -> S3Result<Found> {
        if sought.version.is_some_and(|version| version != "null") {
            return Err(s3_error!(NoSuchVersion));
        }
        if sought.range.is_some() && sought.part.is_some() {
            return Err(s3_error!(InvalidRequest, "Range and partNumber exclude one another"));
        }
        let Sought { bucket, key, .. } = sought;
        let (object, extents, first) = self
            .writer()
            .glance(move |reader| {
                let object = reader.object(&bucket, &key)?;
                let extents = reader.extents(&object.blobs)?;
                let first = extents.first().map(|extent| extent.segment);
                let row = first.map(|id| reader.segment(id)).transpose()?.flatten();
                Ok((object, extents, first.zip(row)))
            })
            .await?;
        sought.conditions.check(&object)?;
        let parts_count =
            (object.parts > 0 && sought.part.is_some()).then_some(object.parts.into());
        let part = sought.part.map(|part| part_span(&object, part)).transpose()?;
        let range =
            sought.range.map(|range| range.check(object.bytes).map_err(|_| bad_range(&object)));
        let partial = range.transpose()?.or(part);
        let content_range = partial
            .as_ref()
            .filter(|span| span.start < span.end)
            .map(|span| format!("bytes {}-{}/{}", span.start, span.end - 1, object.bytes));
        let span = partial.unwrap_or(0..object.bytes);
        Ok(Found { object, extents, first, span, content_range, parts_count })
    }

    pub(super) async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<GetObjectOutput> {
        let input = request.input;
        refuse(&[(input.sse_customer_key.is_some(), "encryption with keys of the customer")])?;
        // From here on nothing that the index names is collected.
        let reading = self.store.reading();
        let found = self.find(sought!(input)).await?;
        let length = found.span.end - found.span.start;
        let body = match length {
            0 => Body::empty(),
            _ => {
                let span = found.span.clone();
                self.store.read_from(found.extents, span, reading, found.first).await?
            }
        };
        let body = Some(StreamingBlob::new(Answer(body)));
        Ok(described!(GetObjectOutput, input, found, body: body))
    }

    pub(super) async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<HeadObjectOutput> {
        let input = request.input;
        let found = self.find(sought!(input)).await?;
        Ok(described!(HeadObjectOutput, input, found))
    }

    pub(super) async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<DeleteObjectOutput> {
        let input = request.input;
        if input.version_id.is_some_and(|version| version != "null") {
            return Err(s3_error!(NoSuchVersion));
        }
        let expect = Expect { matches: input.if_match.map(tag), differs: None };
        let (bucket, key, now) = (input.bucket, input.key, self.store.now_ms());
        self.writer()
            .write(move |tables| tables.delete_object(&bucket, &key, &expect, now))
            .await?;
        Ok(DeleteObjectOutput::default())
    }

    pub(super) async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<DeleteObjectsOutput> {
        let DeleteObjectsInput { bucket, delete, .. } = request.input;
        if delete.objects.is_empty() || delete.objects.len() > super::PAGE_MAX {
            return Err(s3_error!(MalformedXML));
        }
        let now = self.store.now_ms();
        let outcomes = self
            .writer()
            .write(move |tables| {
                tables.expect_bucket(&bucket)?;
                let mut outcomes = Vec::with_capacity(delete.objects.len());
                for object in delete.objects {
                    let expect = Expect {
                        matches: object.e_tag.map(|etag| index::Tag::Is(etag.into_value())),
                        differs: None,
                    };
                    let done = match object.version_id.as_deref() {
                        None | Some("null") => {
                            tables.delete_object(&bucket, &object.key, &expect, now)
                        }
                        Some(_) => Ok(false),
                    };
                    outcomes.push((object.key, done));
                }
                Ok(outcomes)
            })
            .await?;
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for (key, done) in outcomes {
            match done {
                Ok(_) => deleted.push(DeletedObject { key: Some(key), ..Default::default() }),
                Err(error) => {
                    let error = S3Error::from(error);
                    errors.push(Error {
                        key: Some(key),
                        code: Some(error.code().as_str().to_owned()),
                        message: error.message().map(str::to_owned),
                        version_id: None,
                    });
                }
            }
        }
        Ok(DeleteObjectsOutput {
            deleted: Some(deleted).filter(|_| delete.quiet != Some(true)),
            errors: Some(errors).filter(|errors| !errors.is_empty()),
            ..Default::default()
        })
    }
}

/// The bytes of one part of an object.
fn part_span(object: &index::Object, part: i32) -> S3Result<Span<u64>> {
    let missing = || S3Error::new(S3ErrorCode::InvalidPart);
    let number = usize::try_from(part).ok().and_then(|part| part.checked_sub(1));
    let at = number.ok_or_else(|| s3_error!(InvalidArgument, "parts are numbered from 1"))?;
    if object.parts == 0 {
        return if at == 0 { Ok(0..object.bytes) } else { Err(missing()) };
    }
    let parts = usize::from(object.parts);
    // An empty part has no blob, and only the last can be empty.
    if object.blobs.len() + 1 == parts && at + 1 == parts {
        return Ok(object.bytes..object.bytes);
    }
    if object.blobs.len() != parts && object.blobs.len() + 1 != parts {
        return Err(s3_error!(NotImplemented, "parts of this object are no longer known apart"));
    }
    let start = object.blobs.iter().take(at).map(|blob| blob.bytes).sum::<u64>();
    object.blobs.get(at).map(|blob| start..start + blob.bytes).ok_or_else(missing)
}

/// The answer to a range beyond the object, with its length (RFC 9110 section 15.5.17).
fn bad_range(object: &index::Object) -> S3Error {
    let mut error = s3_error!(InvalidRange, "the object has {} bytes", object.bytes);
    let mut headers = hyper::HeaderMap::new();
    if let Ok(value) = format!("bytes */{}", object.bytes).parse() {
        headers.insert(hyper::header::CONTENT_RANGE, value);
    }
    error.set_headers(headers);
    error
}
