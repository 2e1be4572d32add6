//! The S3 protocol in front of the store: requests in S3's types in, answers and S3's errors out.
//!
//! Supported: buckets (create, delete, head, list, location); objects (put, get with ranges and
//! conditions, head, copy, delete one or many, list in both versions); multipart uploads (create,
//! part, part by copy, complete, abort, list of parts and of uploads); `Content-MD5` and all
//! `x-amz-checksum-*`, in headers and trailers. What is not supported is refused and not ignored
//! where ignoring it would lose something: versions, tags, locks, keys given by the customer. Tools
//! that ask for it first are told that there is none of it.

mod absent;
mod body;
mod bucket;
mod conditions;
mod copy;
mod error;
mod listing;
mod multipart;
mod object;
mod shared;
mod time;

use crate::{
    index::Writer,
    store::{Intake, Store},
};
use s3s::{S3, S3Request, S3Response, S3Result, dto::*};
use std::sync::Arc;

/// The region that the service claims to be in.
pub const REGION: &str = "us-east-1";
/// Largest object put at once, or part, bytes (S3).
pub const PUT_BYTES_MAX: u64 = 5 << 30;
/// Largest object, bytes (S3).
pub const OBJECT_BYTES_MAX: u64 = 5 << 40;
/// Most parts of an upload (S3).
pub const PARTS_MAX: u16 = 10_000;
/// Most entries of a page (S3).
pub const PAGE_MAX: usize = 1_000;
/// Most bytes of user metadata (S3).
pub const METADATA_BYTES_MAX: usize = 2_048;

/// The S3 side of a service.
#[derive(Clone, Debug)]
pub struct Face {
    store: Arc<Store>,
    intake: Intake,
}

impl Face {
    /// Serves `store`.
    pub const fn new(store: Arc<Store>, intake: Intake) -> Self {
        Self { store, intake }
    }

    fn writer(&self) -> &Writer {
        &self.store.writer
    }
}

macro_rules! serve {
    ($($name:ident: $input:ident => $output:ident),+ $(,)?) => {
        #[async_trait::async_trait]
        impl S3 for Face {
            $(
                async fn $name(
                    &self,
                    request: S3Request<$input>,
                ) -> S3Result<S3Response<$output>> {
                    metrics::counter!("wayleave_s3_requests_total", "operation" => stringify!($name))
                        .increment(1);
                    self.$name(request).await.map(S3Response::new)
                }
            )+
        }
    };
}

serve!(
    create_bucket: CreateBucketInput => CreateBucketOutput,
    delete_bucket: DeleteBucketInput => DeleteBucketOutput,
    head_bucket: HeadBucketInput => HeadBucketOutput,
    list_buckets: ListBucketsInput => ListBucketsOutput,
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput,
    put_object: PutObjectInput => PutObjectOutput,
    get_object: GetObjectInput => GetObjectOutput,
    head_object: HeadObjectInput => HeadObjectOutput,
    delete_object: DeleteObjectInput => DeleteObjectOutput,
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput,
    copy_object: CopyObjectInput => CopyObjectOutput,
    list_objects: ListObjectsInput => ListObjectsOutput,
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output,
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput,
    upload_part: UploadPartInput => UploadPartOutput,
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput,
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput,
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput,
    list_parts: ListPartsInput => ListPartsOutput,
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput,
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput,
    get_object_tagging: GetObjectTaggingInput => GetObjectTaggingOutput,
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput,
    get_bucket_acl: GetBucketAclInput => GetBucketAclOutput,
    get_object_acl: GetObjectAclInput => GetObjectAclOutput,
);
