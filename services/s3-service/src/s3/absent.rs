//! What S3 has and this service does not, told to those who ask before they do something else: no tags,
//! no versions, and access for the one customer alone.

use super::Face;
use s3s::{S3Request, S3Result, dto::*, s3_error};

/// The one customer, as S3 names accounts.
const OWNER: &str = "wayleave";

fn owner() -> Owner {
    Owner { id: Some(OWNER.into()), display_name: None }
}

/// All rights for the owner, and for nobody else.
fn grants() -> Vec<Grant> {
    let grantee = Grantee {
        display_name: None,
        email_address: None,
        id: Some(OWNER.into()),
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    let permission = Permission::from_static(Permission::FULL_CONTROL);
    vec![Grant { grantee: Some(grantee), permission: Some(permission) }]
}

impl Face {
    async fn expect_bucket(&self, name: String) -> S3Result<()> {
        self.writer().read(move |reader| reader.bucket(&name)).await?;
        Ok(())
    }

    async fn expect_object(
        &self,
        bucket: String,
        key: String,
        version: Option<String>,
    ) -> S3Result<()> {
        if version.is_some_and(|version| version != "null") {
            return Err(s3_error!(NoSuchVersion));
        }
        self.writer().read(move |reader| reader.object(&bucket, &key)).await?;
        Ok(())
    }

    pub(super) async fn get_object_tagging(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<GetObjectTaggingOutput> {
        let GetObjectTaggingInput { bucket, key, version_id, .. } = request.input;
        self.expect_object(bucket, key, version_id).await?;
        Ok(GetObjectTaggingOutput { tag_set: Vec::new(), version_id: None })
    }

    pub(super) async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<GetBucketVersioningOutput> {
        self.expect_bucket(request.input.bucket).await?;
        Ok(GetBucketVersioningOutput::default())
    }

    pub(super) async fn get_bucket_acl(
        &self,
        request: S3Request<GetBucketAclInput>,
    ) -> S3Result<GetBucketAclOutput> {
        self.expect_bucket(request.input.bucket).await?;
        Ok(GetBucketAclOutput { grants: Some(grants()), owner: Some(owner()) })
    }

    pub(super) async fn get_object_acl(
        &self,
        request: S3Request<GetObjectAclInput>,
    ) -> S3Result<GetObjectAclOutput> {
        let GetObjectAclInput { bucket, key, version_id, .. } = request.input;
        self.expect_object(bucket, key, version_id).await?;
        Ok(GetObjectAclOutput {
            grants: Some(grants()),
            owner: Some(owner()),
            request_charged: None,
        })
    }
}
