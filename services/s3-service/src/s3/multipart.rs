//! Multipart uploads.

use super::{
    Face, OBJECT_BYTES_MAX, PARTS_MAX,
    body::{etag, incoming, sums},
    copy::{expect, expect_upload},
    listing::limit,
    object::{Shown, blank, refuse, shown},
    shared::{headers, refuse_unsupported, said},
    time::stamp,
};
use crate::{
    checksum::{self, Algorithm},
    index::{self, IndexError, ObjectPut, Part as PartRow, PartPut, UploadId},
    keys,
    store::Target,
};
use alloy_primitives::hex;
use s3s::{S3Error, S3Request, S3Result, dto::*, s3_error};

/// The upload of an id.
///
/// # Errors
/// `NoSuchUpload` if it is none of ours.
pub(super) fn parse(id: &str) -> S3Result<UploadId> {
    let bytes = hex::decode(id).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    bytes.map(UploadId).ok_or_else(|| s3_error!(NoSuchUpload))
}

/// A part's number.
///
/// # Errors
/// `InvalidArgument` outside 1 to [`PARTS_MAX`].
pub(super) fn number(part: i32) -> S3Result<u16> {
    u16::try_from(part)
        .ok()
        .filter(|part| (1..=PARTS_MAX).contains(part))
        .ok_or_else(|| s3_error!(InvalidArgument, "part numbers go from 1 to {PARTS_MAX}"))
}

/// A part that a client wants in the object.
struct Chosen {
    number: u16,
    md5: [u8; 16],
    checksum: Option<(Algorithm, Vec<u8>)>,
}

fn chosen(parts: Option<CompletedMultipartUpload>) -> S3Result<Vec<Chosen>> {
    let parts = parts.and_then(|upload| upload.parts).unwrap_or_default();
    if parts.is_empty() || parts.len() > usize::from(PARTS_MAX) {
        return Err(s3_error!(MalformedXML, "an upload is completed with 1 to {PARTS_MAX} parts"));
    }
    let mut chosen = Vec::with_capacity(parts.len());
    for part in parts {
        let number = number(part.part_number.ok_or_else(|| s3_error!(MalformedXML))?)?;
        let md5 = part
            .e_tag
            .and_then(|etag| hex::decode(etag.value()).ok())
            .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok())
            .ok_or(IndexError::InvalidPart(number))?;
        let sums = [
            part.checksum_crc32,
            part.checksum_crc32c,
            part.checksum_sha1,
            part.checksum_sha256,
            part.checksum_crc64nvme,
        ];
        let checksum = Algorithm::ALL
            .into_iter()
            .zip(sums)
            .find_map(|(algorithm, text)| Some((algorithm, checksum::decode(&text?)?)));
        chosen.push(Chosen { number, md5, checksum });
    }
    if !chosen.is_sorted_by(|a, b| a.number < b.number) {
        return Err(IndexError::PartOrder.into());
    }
    Ok(chosen)
}

/// The etag of an object of parts: MD5 of the parts' MD5s, and how many.
fn etag_of(chosen: &[Chosen]) -> String {
    let all: Vec<u8> = chosen.iter().flat_map(|part| part.md5).collect();
    format!("{}-{}", hex::encode(checksum::md5(&all)), chosen.len())
}

/// The object's checksum from those of its parts, if all have one.
fn checksum_of(upload: &index::Upload, parts: &[PartRow]) -> Option<index::Checksum> {
    let algorithm = Algorithm::from_code(upload.algorithm?)?;
    let sums: Option<Vec<&index::Checksum>> = parts
        .iter()
        .map(|part| part.checksum.as_ref().filter(|sum| sum.algorithm == algorithm.code()))
        .collect();
    let sums = sums?;
    if upload.whole {
        let mut value = algorithm.of(&[]);
        for (part, sum) in parts.iter().zip(&sums) {
            value = algorithm.combine(&value, &sum.value, part.bytes)?;
        }
        return Some(index::Checksum { algorithm: algorithm.code(), value, parts: 0 });
    }
    let all: Vec<u8> = sums.iter().flat_map(|sum| sum.value.iter().copied()).collect();
    Some(index::Checksum {
        algorithm: algorithm.code(),
        value: algorithm.of(&all),
        parts: u16::try_from(parts.len()).unwrap_or(PARTS_MAX),
    })
}

impl Face {
    pub(super) async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<CreateMultipartUploadOutput> {
        let input = request.input;
        refuse_unsupported!(input);
        let algorithm = input.checksum_algorithm.as_ref().map(|name| {
            Algorithm::from_name(name.as_str())
                .ok_or_else(|| s3_error!(InvalidRequest, "checksum algorithm is not known"))
        });
        let algorithm = algorithm.transpose()?;
        let whole = match input.checksum_type.as_ref().map(ChecksumType::as_str) {
            Some(ChecksumType::FULL_OBJECT) => true,
            Some(_) => false,
            None => algorithm == Some(Algorithm::Crc64Nvme),
        };
        if whole && algorithm.is_some_and(|algorithm| !algorithm.is_linear()) {
            return Err(s3_error!(
                InvalidRequest,
                "the checksum of a whole object does not follow from its parts by this algorithm"
            ));
        }
        let row = index::Upload {
            initiated_ms: self.store.now_ms(),
            headers: headers!(input),
            algorithm: algorithm.map(Algorithm::code),
            whole,
        };
        let upload = UploadId(keys::draw(&*self.store.random).map_err(S3Error::internal_error)?);
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        self.writer()
            .write(move |tables| tables.create_upload(&bucket, &key, upload, &row))
            .await?;
        let kind = if whole { ChecksumType::FULL_OBJECT } else { ChecksumType::COMPOSITE };
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(hex::encode(upload.0)),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: algorithm.map(|_| ChecksumType::from_static(kind)),
            ..Default::default()
        })
    }

    pub(super) async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<UploadPartOutput> {
        let input = request.input;
        refuse(&[(input.sse_customer_key.is_some(), "encryption with keys of the customer")])?;
        let (upload, number) = (parse(&input.upload_id)?, number(input.part_number)?);
        let row = expect_upload(self, &input.bucket, &input.key, upload).await?;
        let incoming = incoming(
            input.body,
            said!(request, input, row.algorithm.and_then(Algorithm::from_code)),
        )?;
        let item = PartPut {
            bucket: input.bucket,
            key: input.key,
            upload,
            number,
            part: PartRow::default(),
        };
        let digests = self.intake.take(Target::Part(Box::new(item)), incoming).await?;
        let [crc32, crc32c, sha1, sha256, crc64nvme] = sums(&digests);
        Ok(UploadPartOutput {
            e_tag: Some(etag(&digests)),
            checksum_crc32: crc32,
            checksum_crc32c: crc32c,
            checksum_sha1: sha1,
            checksum_sha256: sha256,
            checksum_crc64nvme: crc64nvme,
            ..Default::default()
        })
    }

    pub(super) async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let input = request.input;
        let upload = parse(&input.upload_id)?;
        let chosen = chosen(input.multipart_upload)?;
        let etag = etag_of(&chosen);
        let (bucket, key) = (input.bucket, input.key);
        let row = match expect_upload(self, &bucket, &key, upload).await {
            Ok(row) => row,
            Err(error) => return self.completed_before(bucket, key, &etag, error).await,
        };
        let parts = self.parts_for(upload, &chosen).await?;
        let bytes = self.check_sizes(&chosen, &parts)?;
        if input.mpu_object_size.is_some_and(|size| u64::try_from(size) != Ok(bytes)) {
            return Err(s3_error!(InvalidRequest, "the parts have another size than was given"));
        }
        let checksum = checksum_of(&row, &parts);
        let mut object = blank(row.headers.clone());
        object.bytes = bytes;
        object.etag = etag;
        object.checksum = checksum;
        object.modified_ms = self.store.now_ms();
        object.parts = u16::try_from(chosen.len()).unwrap_or(PARTS_MAX);
        check_whole(
            &object,
            [
                input.checksum_crc32,
                input.checksum_crc32c,
                input.checksum_sha1,
                input.checksum_sha256,
                input.checksum_crc64nvme,
            ],
        )?;
        let expect = expect(input.if_match, input.if_none_match);
        let item = ObjectPut { bucket: bucket.clone(), key: key.clone(), expect, object };
        let numbers: Vec<_> = chosen.iter().map(|part| (part.number, part.md5)).collect();
        let now = self.store.now_ms();
        let object = self
            .writer()
            .write(move |tables| tables.complete_upload(item, upload, &numbers, now))
            .await?;
        Ok(completed(bucket, key, &object))
    }

    /// A client that did not hear that its upload was completed asks again.
    async fn completed_before(
        &self,
        bucket: String,
        key: String,
        etag: &str,
        error: S3Error,
    ) -> S3Result<CompleteMultipartUploadOutput> {
        let (of, name) = (bucket.clone(), key.clone());
        match self.writer().read(move |reader| reader.object(&of, &name)).await {
            Ok(object) if object.etag == etag => Ok(completed(bucket, key, &object)),
            _ => Err(error),
        }
    }

    async fn parts_for(&self, upload: UploadId, chosen: &[Chosen]) -> S3Result<Vec<PartRow>> {
        let (all, _) = self
            .writer()
            .read(move |reader| reader.parts(upload, 0, usize::from(PARTS_MAX)))
            .await?;
        let mut parts = Vec::with_capacity(chosen.len());
        for wanted in chosen {
            let part = all
                .binary_search_by_key(&wanted.number, |(number, _)| *number)
                .ok()
                .map(|at| &all[at].1)
                .filter(|part| part.md5 == wanted.md5)
                .filter(|part| match (&wanted.checksum, &part.checksum) {
                    (Some((algorithm, value)), Some(sum)) => {
                        algorithm.code() != sum.algorithm || *value == sum.value
                    }
                    _ => true,
                })
                .ok_or(IndexError::InvalidPart(wanted.number))?;
            parts.push(part.clone());
        }
        Ok(parts)
    }

    fn check_sizes(&self, chosen: &[Chosen], parts: &[PartRow]) -> S3Result<u64> {
        let least = self.store.limits.part_bytes_min;
        let but_last = chosen.iter().zip(parts).take(parts.len().saturating_sub(1));
        for (wanted, part) in but_last {
            if part.bytes < least {
                return Err(IndexError::PartTooSmall(wanted.number).into());
            }
        }
        let bytes = parts.iter().map(|part| part.bytes).sum();
        if bytes > OBJECT_BYTES_MAX {
            return Err(s3_error!(EntityTooLarge));
        }
        Ok(bytes)
    }

    pub(super) async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<AbortMultipartUploadOutput> {
        let input = request.input;
        let (upload, now) = (parse(&input.upload_id)?, self.store.now_ms());
        let (bucket, key) = (input.bucket, input.key);
        self.writer().write(move |tables| tables.abort_upload(&bucket, &key, upload, now)).await?;
        Ok(AbortMultipartUploadOutput::default())
    }

    pub(super) async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<ListPartsOutput> {
        let input = request.input;
        let upload = parse(&input.upload_id)?;
        let row = expect_upload(self, &input.bucket, &input.key, upload).await?;
        let limit = limit(input.max_parts)?;
        let after = u16::try_from(input.part_number_marker.unwrap_or(0))
            .map_err(|_| s3_error!(InvalidArgument, "part numbers go from 1 to {PARTS_MAX}"))?;
        let (found, more) =
            self.writer().read(move |reader| reader.parts(upload, after, limit)).await?;
        let next = found.last().filter(|_| more).map(|(number, _)| i32::from(*number));
        let parts = found
            .iter()
            .map(|(number, part)| {
                let sums = shown(&with_sum(part)).sums;
                let [crc32, crc32c, sha1, sha256, crc64nvme] = sums;
                Part {
                    part_number: Some(i32::from(*number)),
                    e_tag: Some(ETag::Strong(hex::encode(part.md5))),
                    size: i64::try_from(part.bytes).ok(),
                    last_modified: Some(stamp(part.modified_ms)),
                    checksum_crc32: crc32,
                    checksum_crc32c: crc32c,
                    checksum_sha1: sha1,
                    checksum_sha256: sha256,
                    checksum_crc64nvme: crc64nvme,
                }
            })
            .collect();
        let algorithm = row.algorithm.and_then(Algorithm::from_code);
        Ok(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            part_number_marker: input.part_number_marker,
            next_part_number_marker: next,
            max_parts: i32::try_from(limit).ok(),
            is_truncated: Some(more),
            parts: Some(parts),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            checksum_algorithm: algorithm
                .map(|algorithm| ChecksumAlgorithm::from_static(algorithm.name())),
            ..Default::default()
        })
    }
}

/// A row that shows a part's checksum.
fn with_sum(part: &PartRow) -> index::Object {
    let mut row = blank(index::Headers::default());
    row.checksum.clone_from(&part.checksum);
    row
}

/// Checks the checksum of the whole that a client gives when it completes an upload.
fn check_whole(object: &index::Object, given: [Option<String>; 5]) -> S3Result<()> {
    let Shown { sums, .. } = shown(object);
    for ((algorithm, given), made) in Algorithm::ALL.into_iter().zip(given).zip(sums) {
        if let (Some(given), Some(made)) = (given, made)
            && given != made
        {
            return Err(s3_error!(
                BadDigest,
                "the {} checksum given does not match the parts",
                algorithm.name()
            ));
        }
    }
    Ok(())
}

fn completed(bucket: String, key: String, object: &index::Object) -> CompleteMultipartUploadOutput {
    let shown = shown(object);
    let [crc32, crc32c, sha1, sha256, crc64nvme] = shown.sums;
    CompleteMultipartUploadOutput {
        location: Some(format!("/{bucket}/{key}")),
        bucket: Some(bucket),
        key: Some(key),
        e_tag: Some(shown.etag),
        checksum_crc32: crc32,
        checksum_crc32c: crc32c,
        checksum_sha1: sha1,
        checksum_sha256: sha256,
        checksum_crc64nvme: crc64nvme,
        checksum_type: shown.kind,
        ..Default::default()
    }
}
