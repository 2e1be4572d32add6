//! Objects: put, get, head, delete.

use super::{
    Face, METADATA_BYTES_MAX,
    body::{Said, etag, fields, incoming, sums},
    conditions::{Conditions, tag},
    time::{millis, stamp, whole},
};
use crate::{
    checksum::{self, Algorithm},
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

/// Whether an object is to be locked in any way, as [`refuse`] wants it.
pub(super) const fn locked(
    mode: &Option<ObjectLockMode>,
    hold: &Option<ObjectLockLegalHoldStatus>,
    until: &Option<ObjectLockRetainUntilDate>,
) -> (bool, &'static str) {
    (mode.is_some() || hold.is_some() || until.is_some(), "object locking")
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
    span: Span<u64>,
    content_range: Option<String>,
    parts_count: Option<i32>,
}

struct Sought {
    bucket: String,
    key: String,
    conditions: Conditions,
    range: Option<Range>,
    part: Option<i32>,
    version: Option<String>,
}

impl Face {
    pub(super) async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<PutObjectOutput> {
        let input = request.input;
        refuse(&[
            (input.sse_customer_key.is_some(), "encryption with keys of the customer"),
            (is_foreign(input.server_side_encryption.as_ref()), "this encryption"),
            (input.tagging.is_some(), "tagging"),
            locked(
                &input.object_lock_mode,
                &input.object_lock_legal_hold_status,
                &input.object_lock_retain_until_date,
            ),
            (input.write_offset_bytes.is_some(), "appending"),
        ])?;
        check_class(input.storage_class.as_ref())?;
        let incoming = incoming(
            input.body,
            Said {
                length: input.content_length,
                md5: input.content_md5.as_deref(),
                checksums: [
                    input.checksum_crc32.as_deref(),
                    input.checksum_crc32c.as_deref(),
                    input.checksum_sha1.as_deref(),
                    input.checksum_sha256.as_deref(),
                    input.checksum_crc64nvme.as_deref(),
                ],
                headers: &request.headers,
                trailers: request.trailing_headers,
                wanted: None,
            },
        )?;
        let headers = index::Headers {
            content_type: input.content_type,
            content_encoding: encoding(input.content_encoding),
            content_language: input.content_language,
            content_disposition: input.content_disposition,
            cache_control: input.cache_control,
            expires_ms: input.expires.as_ref().and_then(millis),
            metadata: metadata(input.metadata)?,
        };
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
        let early = item.clone();
        self.check_early(early).await?;
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

    async fn check_early(&self, item: ObjectPut) -> S3Result<()> {
        let unconditional = item.expect == Expect::default();
        self.writer()
            .read(move |reader| {
                if unconditional {
                    return reader.bucket(&item.bucket).map(|_| ());
                }
                let old = match reader.object(&item.bucket, &item.key) {
                    Ok(object) => Some(object),
                    Err(IndexError::NoSuchKey(_)) => None,
                    Err(error) => return Err(error),
                };
                item.expect.check(&item.key, old.as_ref())
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
        let (object, extents) = self
            .writer()
            .read(move |reader| {
                let object = reader.object(&bucket, &key)?;
                let extents = reader.extents(&object.blobs)?;
                Ok((object, extents))
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
        Ok(Found { object, extents, span, content_range, parts_count })
    }

    pub(super) async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<GetObjectOutput> {
        let input = request.input;
        refuse(&[(input.sse_customer_key.is_some(), "encryption with keys of the customer")])?;
        // From here on nothing that the index names is collected.
        let reading = self.store.reading();
        let found = self
            .find(Sought {
                bucket: input.bucket,
                key: input.key,
                conditions: Conditions {
                    matches: input.if_match,
                    differs: input.if_none_match,
                    modified_since: input.if_modified_since,
                    unmodified_since: input.if_unmodified_since,
                },
                range: input.range,
                part: input.part_number,
                version: input.version_id,
            })
            .await?;
        let length = found.span.end - found.span.start;
        let body = match length {
            0 => Body::empty(),
            _ => self.store.read(found.extents, found.span.clone(), reading).await?,
        };
        let whole_object = found.content_range.is_none();
        let with_sums = input.checksum_mode.is_some() && whole_object;
        let Shown { etag, sums, kind } = shown(&found.object);
        let [crc32, crc32c, sha1, sha256, crc64nvme] =
            if with_sums { sums } else { Default::default() };
        let headers = found.object.headers;
        Ok(GetObjectOutput {
            accept_ranges: Some("bytes".into()),
            body: Some(StreamingBlob::new(Answer(body))),
            content_length: i64::try_from(length).ok(),
            content_range: found.content_range,
            parts_count: found.parts_count,
            e_tag: Some(etag),
            last_modified: Some(stamp(found.object.modified_ms)),
            content_type: headers.content_type.or_else(|| Some("binary/octet-stream".into())),
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            content_disposition: headers.content_disposition,
            cache_control: headers.cache_control,
            expires: headers.expires_ms.map(whole),
            metadata: Some(headers.metadata.into_iter().collect()),
            checksum_crc32: crc32,
            checksum_crc32c: crc32c,
            checksum_sha1: sha1,
            checksum_sha256: sha256,
            checksum_crc64nvme: crc64nvme,
            checksum_type: kind.filter(|_| with_sums),
            ..Default::default()
        })
    }

    pub(super) async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<HeadObjectOutput> {
        let input = request.input;
        let found = self
            .find(Sought {
                bucket: input.bucket,
                key: input.key,
                conditions: Conditions {
                    matches: input.if_match,
                    differs: input.if_none_match,
                    modified_since: input.if_modified_since,
                    unmodified_since: input.if_unmodified_since,
                },
                range: input.range,
                part: input.part_number,
                version: input.version_id,
            })
            .await?;
        let with_sums = input.checksum_mode.is_some() && found.content_range.is_none();
        let Shown { etag, sums, kind } = shown(&found.object);
        let [crc32, crc32c, sha1, sha256, crc64nvme] =
            if with_sums { sums } else { Default::default() };
        let headers = found.object.headers;
        Ok(HeadObjectOutput {
            accept_ranges: Some("bytes".into()),
            content_length: i64::try_from(found.span.end - found.span.start).ok(),
            content_range: found.content_range,
            parts_count: found.parts_count,
            e_tag: Some(etag),
            last_modified: Some(stamp(found.object.modified_ms)),
            content_type: headers.content_type.or_else(|| Some("binary/octet-stream".into())),
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            content_disposition: headers.content_disposition,
            cache_control: headers.cache_control,
            expires: headers.expires_ms.map(whole),
            metadata: Some(headers.metadata.into_iter().collect()),
            checksum_crc32: crc32,
            checksum_crc32c: crc32c,
            checksum_sha1: sha1,
            checksum_sha256: sha256,
            checksum_crc64nvme: crc64nvme,
            checksum_type: kind.filter(|_| with_sums),
            ..Default::default()
        })
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
