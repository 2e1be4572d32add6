//! Lists of objects and uploads, a page at a time.

use super::{Face, PAGE_MAX, object::shown, time::stamp};
use crate::{
    checksum,
    index::{self, Listing, Query, UploadId, UploadQuery},
};
use s3s::{S3Request, S3Result, dto::*, s3_error};

/// How many entries are wanted.
pub(super) fn limit(wanted: Option<i32>) -> S3Result<usize> {
    match wanted {
        None => Ok(PAGE_MAX),
        Some(wanted) => usize::try_from(wanted)
            .map(|wanted| wanted.min(PAGE_MAX))
            .map_err(|_| s3_error!(InvalidArgument, "the number of entries must not be negative")),
    }
}

fn count(entries: usize) -> Option<i32> {
    i32::try_from(entries).ok()
}

/// A name as the client wants it written.
struct Writing(bool);

impl Writing {
    fn of(encoding: Option<&EncodingType>) -> Self {
        Self(encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL))
    }

    /// Percent-encoded if wanted: XML cannot carry every character of a key.
    fn name(&self, name: &str) -> String {
        if !self.0 {
            return name.to_owned();
        }
        let mut out = String::with_capacity(name.len());
        for byte in name.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                    out.push(char::from(byte));
                }
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
        out
    }
}

fn contents(listing: &[(String, index::Object)], writing: &Writing) -> Vec<Object> {
    listing
        .iter()
        .map(|(key, object)| {
            let algorithm = object
                .checksum
                .as_ref()
                .and_then(|sum| checksum::Algorithm::from_code(sum.algorithm))
                .map(|algorithm| vec![ChecksumAlgorithm::from_static(algorithm.name())]);
            let shown = shown(object);
            Object {
                key: Some(writing.name(key)),
                size: i64::try_from(object.bytes).ok(),
                e_tag: Some(shown.etag),
                last_modified: Some(stamp(object.modified_ms)),
                storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
                checksum_algorithm: algorithm,
                checksum_type: shown.kind,
                ..Default::default()
            }
        })
        .collect()
}

fn prefixes(listing: &[String], writing: &Writing) -> Vec<CommonPrefix> {
    listing.iter().map(|name| CommonPrefix { prefix: Some(writing.name(name)) }).collect()
}

impl Face {
    async fn page(
        &self,
        bucket: String,
        prefix: Option<String>,
        delimiter: Option<String>,
        after: Option<String>,
        limit: usize,
    ) -> S3Result<Listing> {
        let page = self
            .writer()
            .read(move |reader| {
                if limit == 0 {
                    return reader.bucket(&bucket).map(|_| Listing::default());
                }
                let query = Query {
                    prefix: prefix.as_deref().unwrap_or_default(),
                    delimiter: delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()),
                    after: after.as_deref().filter(|after| !after.is_empty()),
                    limit,
                };
                reader.list(&bucket, &query)
            })
            .await?;
        Ok(page)
    }

    pub(super) async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<ListObjectsV2Output> {
        let input = request.input;
        let limit = limit(input.max_keys)?;
        let after = match &input.continuation_token {
            Some(token) => Some(
                checksum::decode(token)
                    .and_then(|bytes| String::from_utf8(bytes).ok())
                    .ok_or_else(|| {
                        s3_error!(InvalidArgument, "the continuation token is not one of ours")
                    })?,
            ),
            None => input.start_after.clone(),
        };
        let page = self
            .page(input.bucket.clone(), input.prefix.clone(), input.delimiter.clone(), after, limit)
            .await?;
        let writing = Writing::of(input.encoding_type.as_ref());
        let (contents, prefixes) =
            (contents(&page.objects, &writing), prefixes(&page.prefixes, &writing));
        Ok(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix.map(|prefix| writing.name(&prefix)),
            max_keys: count(limit),
            key_count: count(contents.len() + prefixes.len()),
            continuation_token: input.continuation_token,
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.map(|next| checksum::encode(next.as_bytes())),
            contents: Some(contents),
            common_prefixes: Some(prefixes),
            delimiter: input.delimiter.map(|delimiter| writing.name(&delimiter)),
            start_after: input.start_after.map(|after| writing.name(&after)),
            encoding_type: input.encoding_type,
            ..Default::default()
        })
    }

    pub(super) async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<ListObjectsOutput> {
        let input = request.input;
        let limit = limit(input.max_keys)?;
        let page = self
            .page(
                input.bucket.clone(),
                input.prefix.clone(),
                input.delimiter.clone(),
                input.marker.clone(),
                limit,
            )
            .await?;
        let writing = Writing::of(input.encoding_type.as_ref());
        // Without a delimiter the last key is the marker, and S3 does not repeat it.
        let next = page.next.as_ref().filter(|_| input.delimiter.is_some());
        Ok(ListObjectsOutput {
            name: Some(input.bucket),
            prefix: Some(writing.name(input.prefix.as_deref().unwrap_or_default())),
            marker: Some(writing.name(input.marker.as_deref().unwrap_or_default())),
            max_keys: count(limit),
            is_truncated: Some(page.next.is_some()),
            next_marker: next.map(|next| writing.name(next)),
            contents: Some(contents(&page.objects, &writing)),
            common_prefixes: Some(prefixes(&page.prefixes, &writing)),
            delimiter: input.delimiter.map(|delimiter| writing.name(&delimiter)),
            encoding_type: input.encoding_type,
            ..Default::default()
        })
    }

    /// Every object is its own only version, `null`, as in a bucket of S3 without versions.
    pub(super) async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<ListObjectVersionsOutput> {
        let input = request.input;
        let limit = limit(input.max_keys)?;
        let (prefix, after) = (input.prefix.clone(), input.key_marker.clone());
        let page =
            self.page(input.bucket.clone(), prefix, input.delimiter.clone(), after, limit).await?;
        let writing = Writing::of(input.encoding_type.as_ref());
        let version = |object: Object| ObjectVersion {
            checksum_algorithm: object.checksum_algorithm,
            checksum_type: object.checksum_type,
            e_tag: object.e_tag,
            is_latest: Some(true),
            key: object.key,
            last_modified: object.last_modified,
            size: object.size,
            storage_class: Some(ObjectVersionStorageClass::from_static(
                ObjectVersionStorageClass::STANDARD,
            )),
            version_id: Some("null".into()),
            ..Default::default()
        };
        let versions = contents(&page.objects, &writing).into_iter().map(version).collect();
        Ok(ListObjectVersionsOutput {
            name: Some(input.bucket),
            prefix: input.prefix.map(|prefix| writing.name(&prefix)),
            key_marker: input.key_marker.map(|marker| writing.name(&marker)),
            version_id_marker: input.version_id_marker,
            max_keys: count(limit),
            is_truncated: Some(page.next.is_some()),
            next_version_id_marker: page.next.as_ref().map(|_| "null".into()),
            next_key_marker: page.next.map(|next| writing.name(&next)),
            versions: Some(versions),
            common_prefixes: Some(prefixes(&page.prefixes, &writing)),
            delimiter: input.delimiter.map(|delimiter| writing.name(&delimiter)),
            encoding_type: input.encoding_type,
            ..Default::default()
        })
    }

    pub(super) async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<ListMultipartUploadsOutput> {
        let input = request.input;
        if input.delimiter.as_ref().is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(s3_error!(NotImplemented, "a delimiter for uploads is not supported"));
        }
        let limit = limit(input.max_uploads)?.max(1);
        let upload = input.upload_id_marker.as_deref().map(super::multipart::parse).transpose()?;
        let (bucket, prefix) = (input.bucket.clone(), input.prefix.clone().unwrap_or_default());
        let marker = input.key_marker.clone().filter(|marker| !marker.is_empty());
        let page = self
            .writer()
            .read(move |reader| {
                let after = marker.as_deref().map(|marker| (marker, upload));
                reader.uploads(&bucket, &UploadQuery { prefix: &prefix, after, limit })
            })
            .await?;
        let writing = Writing::of(input.encoding_type.as_ref());
        let last = page.uploads.last().filter(|_| page.truncated);
        let name = |id: UploadId| alloy_primitives::hex::encode(id.0);
        let (next_key, next_upload) =
            (last.map(|(key, ..)| writing.name(key)), last.map(|(_, id, _)| name(*id)));
        let uploads = page
            .uploads
            .iter()
            .map(|(key, id, row)| MultipartUpload {
                key: Some(writing.name(key)),
                upload_id: Some(name(*id)),
                initiated: Some(stamp(row.initiated_ms)),
                storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
                ..Default::default()
            })
            .collect();
        Ok(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix.map(|prefix| writing.name(&prefix)),
            key_marker: input.key_marker.map(|marker| writing.name(&marker)),
            upload_id_marker: input.upload_id_marker,
            max_uploads: count(limit),
            is_truncated: Some(page.truncated),
            next_key_marker: next_key,
            next_upload_id_marker: next_upload,
            uploads: Some(uploads),
            encoding_type: input.encoding_type,
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_wanted() {
        assert_eq!(Writing(false).name("a b/é"), "a b/é");
        assert_eq!(Writing(true).name("a b/é+"), "a%20b/%C3%A9%2B");
        assert_eq!(limit(None).unwrap(), 1_000);
        assert_eq!(limit(Some(5_000)).unwrap(), 1_000);
        assert_eq!(limit(Some(0)).unwrap(), 0);
        assert!(limit(Some(-1)).is_err());
    }
}
