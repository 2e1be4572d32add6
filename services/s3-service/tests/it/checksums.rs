//! `Content-MD5` and `x-amz-checksum-*`: what is given is checked, what is kept is given back.

use crate::world::{World, bytes, code, get};
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{ChecksumAlgorithm, ChecksumMode},
};
use s3_service::checksum::{Algorithm, encode, md5};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_algorithm_is_made_checked_and_kept() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    for (algorithm, ours) in [
        (ChecksumAlgorithm::Crc32, Algorithm::Crc32),
        (ChecksumAlgorithm::Crc32C, Algorithm::Crc32c),
        (ChecksumAlgorithm::Sha1, Algorithm::Sha1),
        (ChecksumAlgorithm::Sha256, Algorithm::Sha256),
        (ChecksumAlgorithm::Crc64Nvme, Algorithm::Crc64Nvme),
    ] {
        for size in [10, 2 << 20] {
            let (key, body) = (format!("{algorithm}-{size}"), bytes(1, size));
            client
                .put_object()
                .bucket("bucket")
                .key(&key)
                .checksum_algorithm(algorithm.clone())
                .body(ByteStream::from(body.clone()))
                .send()
                .await
                .unwrap();
            let head = client.head_object().bucket("bucket").key(&key);
            let head = head.checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
            let kept = match ours {
                Algorithm::Crc32 => head.checksum_crc32(),
                Algorithm::Crc32c => head.checksum_crc32_c(),
                Algorithm::Sha1 => head.checksum_sha1(),
                Algorithm::Sha256 => head.checksum_sha256(),
                Algorithm::Crc64Nvme => head.checksum_crc64_nvme(),
            };
            assert_eq!(kept, Some(encode(&ours.of(&body)).as_str()), "{algorithm}");
            assert!(get(&client, "bucket", &key).await == body);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_match_is_not_stored() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    for size in [100, 3 << 20] {
        let (body, other) = (bytes(1, size), bytes(2, size));
        let put = || {
            let put = client.put_object().bucket("bucket").key("key");
            put.body(ByteStream::from(body.clone()))
        };
        let wrong = put().checksum_crc32(encode(&Algorithm::Crc32.of(&other))).send().await;
        assert_eq!(code(wrong), "BadDigest");
        let wrong = put().checksum_sha256(encode(&Algorithm::Sha256.of(&other))).send().await;
        assert_eq!(code(wrong), "BadDigest");
        let wrong = put().content_md5(encode(&md5(&other))).send().await;
        assert_eq!(code(wrong), "BadDigest");
        let strange = put().content_md5("not base 64!").send().await;
        assert_eq!(code(strange), "InvalidDigest");
        let strange = put().checksum_crc32("AAAAAAAA").send().await;
        assert_eq!(code(strange), "InvalidRequest");
        let missing = client.get_object().bucket("bucket").key("key").send().await;
        assert_eq!(code(missing), "NoSuchKey");
        put().content_md5(encode(&md5(&body))).send().await.unwrap();
        put().checksum_crc32_c(encode(&Algorithm::Crc32c.of(&body))).send().await.unwrap();
        client.delete_object().bucket("bucket").key("key").send().await.unwrap();
    }
    let empty = async |world: &World| world.running().snapshot().await.unwrap().segments == 0;
    world.until("what was refused is collected", empty).await;
}
