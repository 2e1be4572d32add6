//! Buckets.

use super::{Face, REGION, error::custom, time::stamp};
use hyper::StatusCode;
use s3s::{S3Request, S3Result, dto::*};

impl Face {
    pub(super) async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<CreateBucketOutput> {
        let (name, now) = (request.input.bucket, self.store.now_ms());
        if request.input.object_lock_enabled_for_bucket == Some(true) {
            let message = "object locks are not supported";
            return Err(custom("NotImplemented", StatusCode::NOT_IMPLEMENTED, message));
        }
        let location = format!("/{name}");
        self.writer().write(move |tables| tables.create_bucket(&name, now)).await?;
        Ok(CreateBucketOutput { location: Some(location) })
    }

    pub(super) async fn delete_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<DeleteBucketOutput> {
        let (name, now) = (request.input.bucket, self.store.now_ms());
        self.writer().write(move |tables| tables.delete_bucket(&name, now)).await?;
        Ok(DeleteBucketOutput::default())
    }

    pub(super) async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<HeadBucketOutput> {
        let name = request.input.bucket;
        self.writer().read(move |reader| reader.bucket(&name)).await?;
        Ok(HeadBucketOutput { bucket_region: Some(REGION.into()), ..Default::default() })
    }

    pub(super) async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<GetBucketLocationOutput> {
        let name = request.input.bucket;
        self.writer().read(move |reader| reader.bucket(&name)).await?;
        // S3 says nothing for its first region, which is ours.
        Ok(GetBucketLocationOutput::default())
    }

    pub(super) async fn list_buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<ListBucketsOutput> {
        let input = request.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.unwrap_or_default();
        let limit = input
            .max_buckets
            .and_then(|most| usize::try_from(most).ok())
            .map_or(usize::MAX, |most| most.max(1));
        let all = self.writer().read(|reader| reader.buckets()).await?;
        let mut found: Vec<_> = all
            .into_iter()
            .filter(|(name, _)| name.starts_with(&prefix) && *name > after)
            .collect();
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(name, _)| name.clone());
        let buckets = found
            .into_iter()
            .map(|(name, row)| Bucket {
                name: Some(name),
                creation_date: Some(stamp(row.created_ms)),
                bucket_region: Some(REGION.into()),
            })
            .collect();
        Ok(ListBucketsOutput {
            buckets: Some(buckets),
            continuation_token: next,
            owner: None,
            prefix: input.prefix,
        })
    }
}
