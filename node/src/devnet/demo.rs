//! The devnet's demo data: a few files stored as soon as S3 answers, so that there are duties from
//! epoch 1 on, the first that can have any: a rail counts from the epoch after the one it was opened in,
//! those of the genesis included, and a dataset frozen there would be one that no agent has signed.

use crate::s3::{Access, S3};
use bytes::Bytes;

/// The demo bucket.
pub(crate) const BUCKET: &str = "demo";
/// How many files, and how large the largest is, in bytes.
const FILES: usize = 4;
const LARGEST: usize = 1 << 20;

/// Stores the demo files that are not there: all of them at first, none when a devnet resumes, and what
/// is missing if it was stopped in between.
pub(crate) async fn complete(access: &Access) -> anyhow::Result<()> {
    let s3 = S3::new(access, BUCKET)?;
    s3.create().await?;
    for number in 1..=FILES {
        let name = format!("demo-{number}.bin");
        if s3.has(&name).await? {
            continue;
        }
        let mut bytes = vec![0; LARGEST / FILES * number];
        blake3::Hasher::new_derive_key("wayleave devnet 2026-11 demo file")
            .update(&number.to_be_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        s3.put(&name, Bytes::from(bytes)).await?;
    }
    Ok(())
}
