//! Copies: of objects by sharing their bytes, of parts by reading and storing them, as a part needs
//! its own MD5.

use super::{
    Face,
    body::{etag, sums},
    conditions::{Conditions, Verdict, tag},
    multipart::{number, parse},
    object::{refuse, shown},
    shared::{headers, refuse_unsupported},
    time::stamp,
};
use crate::{
    checksum::{Algorithm, Digests, Expected, Given},
    index::{self, Expect, IndexError, ObjectPut, PartPut, UploadId},
    store::{Incoming, StoreError, Target},
};
use s3s::{S3Request, S3Result, dto::*, s3_error};

/// The bucket and the key of a copy's source.
fn source(source: CopySource) -> S3Result<(String, String)> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => match version_id.as_deref() {
            None | Some("null") => Ok((bucket.into(), key.into())),
            Some(_) => Err(s3_error!(NoSuchVersion)),
        },
        _ => Err(s3_error!(NotImplemented, "copies from access points are not supported")),
    }
}

impl Face {
    pub(super) async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<CopyObjectOutput> {
        let input = request.input;
        refuse_unsupported!(input);
        let (from_bucket, from_key) = source(input.copy_source)?;
        let replace = input
            .metadata_directive
            .is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
        if !replace && from_bucket == input.bucket && from_key == input.key {
            return Err(s3_error!(
                InvalidRequest,
                "a copy of an object onto itself must change its metadata"
            ));
        }
        let headers = headers!(input);
        let headers = replace.then_some(headers);
        let conditions = Conditions {
            matches: input.copy_source_if_match,
            differs: input.copy_source_if_none_match,
            modified_since: input.copy_source_if_modified_since,
            unmodified_since: input.copy_source_if_unmodified_since,
        };
        let (bucket, key, now) = (input.bucket, input.key, self.store.now_ms());
        let object = self
            .writer()
            .write(move |tables| {
                let mut object = tables.expect_object(&from_bucket, &from_key)?;
                if conditions.judge(&object) != Verdict::Go {
                    return Err(IndexError::Condition);
                }
                object.modified_ms = now;
                if let Some(headers) = headers {
                    object.headers = headers;
                }
                let item = ObjectPut { bucket, key, expect: Expect::default(), object };
                tables.put_copy(&item, now)?;
                Ok(item.object)
            })
            .await?;
        Ok(copied(&object))
    }

    pub(super) async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<UploadPartCopyOutput> {
        let input = request.input;
        refuse(&[(input.sse_customer_key.is_some(), "encryption with keys of the customer")])?;
        let (from_bucket, from_key) = source(input.copy_source)?;
        let conditions = Conditions {
            matches: input.copy_source_if_match,
            differs: input.copy_source_if_none_match,
            modified_since: input.copy_source_if_modified_since,
            unmodified_since: input.copy_source_if_unmodified_since,
        };
        let range = input.copy_source_range.as_deref().map(Range::parse);
        let range = range
            .transpose()
            .map_err(|_| s3_error!(InvalidArgument, "x-amz-copy-source-range is no range"))?;
        let (upload, number) = (parse(&input.upload_id)?, number(input.part_number)?);
        let _turn = self.store.copies.acquire().await.map_err(|_| StoreError::Stopping)?;
        let reading = self.store.reading();
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let (row, object, extents) = self
            .writer()
            .read(move |reader| {
                let row = reader.upload(&bucket, &key, upload)?;
                let object = reader.object(&from_bucket, &from_key)?;
                let extents = reader.extents(&object.blobs)?;
                Ok((row, object, extents))
            })
            .await?;
        if conditions.judge(&object) != Verdict::Go {
            return Err(s3_error!(PreconditionFailed));
        }
        let span = range.map_or(Ok(0..object.bytes), |range| range.check(object.bytes))?;
        let wanted = row.algorithm.and_then(Algorithm::from_code);
        let item = PartPut {
            bucket: input.bucket,
            key: input.key,
            upload,
            number,
            part: index::Part::default(),
        };
        let bytes = span.end - span.start;
        let body = self.store.read(extents, span, reading).await?;
        let incoming = Incoming {
            bytes,
            body,
            expected: Expected {
                md5: None,
                checksum: wanted.map(|algorithm| (algorithm, Given::Nowhere)),
            },
            trailer: || None,
        };
        let digests = self.intake.take(Target::Part(Box::new(item)), incoming).await?;
        Ok(answer(&digests, self.store.now_ms()))
    }
}

fn copied(object: &index::Object) -> CopyObjectOutput {
    let shown = shown(object);
    let [crc32, crc32c, sha1, sha256, crc64nvme] = shown.sums;
    CopyObjectOutput {
        copy_object_result: Some(CopyObjectResult {
            e_tag: Some(shown.etag),
            last_modified: Some(stamp(object.modified_ms)),
            checksum_crc32: crc32,
            checksum_crc32c: crc32c,
            checksum_sha1: sha1,
            checksum_sha256: sha256,
            checksum_crc64nvme: crc64nvme,
            checksum_type: shown.kind,
        }),
        ..Default::default()
    }
}

fn answer(digests: &Digests, now_ms: u64) -> UploadPartCopyOutput {
    let [crc32, crc32c, sha1, sha256, crc64nvme] = sums(digests);
    UploadPartCopyOutput {
        copy_part_result: Some(CopyPartResult {
            e_tag: Some(etag(digests)),
            last_modified: Some(stamp(now_ms)),
            checksum_crc32: crc32,
            checksum_crc32c: crc32c,
            checksum_sha1: sha1,
            checksum_sha256: sha256,
            checksum_crc64nvme: crc64nvme,
        }),
        ..Default::default()
    }
}

/// Checks that an upload is there before anything is read for it.
pub(super) async fn expect_upload(
    face: &Face,
    bucket: &str,
    key: &str,
    upload: UploadId,
) -> S3Result<index::Upload> {
    let (bucket, key) = (bucket.to_owned(), key.to_owned());
    Ok(face.writer().read(move |reader| reader.upload(&bucket, &key, upload)).await?)
}

/// An etag condition for a put.
pub(super) fn expect(matches: Option<ETagCondition>, differs: Option<ETagCondition>) -> Expect {
    Expect { matches: matches.map(tag), differs: differs.map(tag) }
}
