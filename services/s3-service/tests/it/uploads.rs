//! Multipart uploads.

use crate::world::{PATIENCE, World, bytes, code, get, limits, put};
use aws_sdk_s3::{
    Client,
    primitives::ByteStream,
    types::{
        ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
    },
};

use s3_service::Limits;

const PART: usize = 5 << 20;

async fn begin(client: &Client, key: &str) -> String {
    let begun = client.create_multipart_upload().bucket("bucket").key(key).send().await.unwrap();
    begun.upload_id.unwrap()
}

async fn part(client: &Client, key: &str, id: &str, number: i32, body: Vec<u8>) -> CompletedPart {
    let sent = client
        .upload_part()
        .bucket("bucket")
        .key(key)
        .upload_id(id)
        .part_number(number)
        .body(ByteStream::from(body))
        .send()
        .await
        .unwrap();
    CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build()
}

fn all(parts: Vec<CompletedPart>) -> CompletedMultipartUpload {
    CompletedMultipartUpload::builder().set_parts(Some(parts)).build()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_make_an_object() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let id = begin(&client, "key").await;
    let bodies = [bytes(1, PART), bytes(2, PART + 3), bytes(3, 70_000)];
    // Out of order, and one twice.
    let third = part(&client, "key", &id, 7, bodies[2].clone()).await;
    part(&client, "key", &id, 2, bytes(9, PART)).await;
    let first = part(&client, "key", &id, 1, bodies[0].clone()).await;
    let second = part(&client, "key", &id, 2, bodies[1].clone()).await;
    part(&client, "key", &id, 9, bytes(8, 10)).await;

    let listed = client.list_parts().bucket("bucket").key("key").upload_id(&id).max_parts(3);
    let listed = listed.send().await.unwrap();
    let numbers: Vec<_> = listed.parts().iter().filter_map(|part| part.part_number()).collect();
    assert_eq!((numbers, listed.is_truncated()), (vec![1, 2, 7], Some(true)));
    let rest =
        client.list_parts().bucket("bucket").key("key").upload_id(&id).part_number_marker("7");
    assert_eq!(rest.send().await.unwrap().parts()[0].size(), Some(10));
    let uploads = client.list_multipart_uploads().bucket("bucket").send().await.unwrap();
    assert_eq!(uploads.uploads()[0].upload_id(), Some(id.as_str()));

    let complete = |parts| {
        let upload = client.complete_multipart_upload().bucket("bucket").key("key");
        upload.upload_id(&id).multipart_upload(all(parts)).send()
    };
    let swapped = complete(vec![second.clone(), first.clone()]).await;
    assert_eq!(code(swapped), "InvalidPartOrder");
    let wrong = CompletedPart::builder().part_number(1).set_e_tag(second.e_tag.clone()).build();
    assert_eq!(code(complete(vec![wrong]).await), "InvalidPart");
    let missing = CompletedPart::builder().part_number(4).set_e_tag(second.e_tag.clone()).build();
    assert_eq!(code(complete(vec![missing]).await), "InvalidPart");
    let ninth = CompletedPart::builder().part_number(9).e_tag("\"x\"").build();
    assert_eq!(code(complete(vec![third.clone(), ninth]).await), "InvalidPart");
    let done = complete(vec![first.clone(), second.clone(), third.clone()]).await.unwrap();
    assert!(done.e_tag().unwrap().ends_with("-3\""));
    // A client that did not hear of it may ask again.
    let again = complete(vec![first.clone(), second, third]).await.unwrap();
    assert_eq!(again.e_tag(), done.e_tag());
    assert_eq!(code(complete(vec![first]).await), "NoSuchUpload");
    assert!(get(&client, "bucket", "key").await == bodies.concat());
    let second = client.get_object().bucket("bucket").key("key").part_number(2).send().await;
    let second = second.unwrap();
    assert_eq!(second.parts_count(), Some(3));
    assert!(second.body.collect().await.unwrap().to_vec() == bodies[1]);
    let across = client.get_object().bucket("bucket").key("key");
    let across = across.range(format!("bytes={}-{}", PART - 5, PART + 4)).send().await.unwrap();
    assert!(across.body.collect().await.unwrap().to_vec() == bodies.concat()[PART - 5..PART + 5]);
    let uploads = client.list_multipart_uploads().bucket("bucket").send().await.unwrap();
    assert!(uploads.uploads().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_parts_and_strange_numbers_are_refused() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let id = begin(&client, "key").await;
    let first = part(&client, "key", &id, 1, bytes(1, 100)).await;
    let second = part(&client, "key", &id, 2, bytes(2, 100)).await;
    let upload = client.complete_multipart_upload().bucket("bucket").key("key").upload_id(&id);
    let small = upload.multipart_upload(all(vec![first, second])).send().await;
    assert_eq!(code(small), "EntityTooSmall");
    for number in [0, -1, 10_001] {
        let strange = client.upload_part().bucket("bucket").key("key").upload_id(&id);
        let strange = strange.part_number(number).body(ByteStream::from_static(b"x")).send().await;
        assert_eq!(code(strange), "InvalidArgument", "{number}");
    }
    let other = client.upload_part().bucket("bucket").key("other").upload_id(&id).part_number(1);
    assert_eq!(code(other.send().await), "NoSuchUpload");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_upload_leaves_nothing() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let id = begin(&client, "key").await;
    part(&client, "key", &id, 1, bytes(1, 2 << 20)).await;
    part(&client, "key", &id, 2, bytes(2, 10)).await;
    let abort = || client.abort_multipart_upload().bucket("bucket").key("key").upload_id(&id);
    abort().send().await.unwrap();
    assert_eq!(code(abort().send().await), "NoSuchUpload");
    let late = client.upload_part().bucket("bucket").key("key").upload_id(&id).part_number(3);
    assert_eq!(code(late.send().await), "NoSuchUpload");
    let empty = async |world: &World| {
        let snapshot = world.running().snapshot().await.unwrap();
        snapshot.segments == 0 && snapshot.shard_bytes == 0
    };
    world.until("all is collected", empty).await;
    client.delete_bucket().bucket("bucket").send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_can_be_copied() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let source = bytes(4, PART + 1_000);
    put(&client, "bucket", "source", source.clone()).await;
    let id = begin(&client, "key").await;
    let copy = |number: i32, range: Option<&str>| {
        client
            .upload_part_copy()
            .bucket("bucket")
            .key("key")
            .upload_id(&id)
            .part_number(number)
            .copy_source("bucket/source")
            .set_copy_source_range(range.map(str::to_owned))
    };
    let first = copy(1, None).send().await.unwrap().copy_part_result.unwrap();
    let second = copy(2, Some("bytes=10-500")).send().await.unwrap().copy_part_result.unwrap();
    assert_eq!(code(copy(3, Some("bytes=9999999-99999999")).send().await), "InvalidRange");
    let part = |number: i32, etag: Option<String>| {
        CompletedPart::builder().part_number(number).set_e_tag(etag).build()
    };
    let upload = client.complete_multipart_upload().bucket("bucket").key("key").upload_id(&id);
    upload
        .multipart_upload(all(vec![part(1, first.e_tag), part(2, second.e_tag)]))
        .send()
        .await
        .unwrap();
    client.delete_object().bucket("bucket").key("source").send().await.unwrap();
    let expected = [&source[..], &source[10..=500]].concat();
    assert!(get(&client, "bucket", "key").await == expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checksums_of_parts_become_those_of_the_object() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let bodies = [bytes(1, PART), bytes(2, 99)];
    for (algorithm, kind) in [
        (ChecksumAlgorithm::Crc32, ChecksumType::FullObject),
        (ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject),
        (ChecksumAlgorithm::Sha256, ChecksumType::Composite),
    ] {
        let key = format!("{algorithm}");
        let begun = client
            .create_multipart_upload()
            .bucket("bucket")
            .key(&key)
            .checksum_algorithm(algorithm.clone())
            .checksum_type(kind.clone())
            .send()
            .await
            .unwrap();
        let id = begun.upload_id.unwrap();
        let mut parts = Vec::new();
        for (number, body) in (1..).zip(&bodies) {
            let sent = client
                .upload_part()
                .bucket("bucket")
                .key(&key)
                .upload_id(&id)
                .part_number(number)
                .checksum_algorithm(algorithm.clone())
                .body(ByteStream::from(body.clone()))
                .send()
                .await
                .unwrap();
            parts.push(
                CompletedPart::builder()
                    .part_number(number)
                    .set_e_tag(sent.e_tag)
                    .set_checksum_crc32(sent.checksum_crc32)
                    .set_checksum_crc64_nvme(sent.checksum_crc64_nvme)
                    .set_checksum_sha256(sent.checksum_sha256)
                    .build(),
            );
        }
        let upload = client.complete_multipart_upload().bucket("bucket").key(&key).upload_id(&id);
        upload.multipart_upload(all(parts)).send().await.unwrap();
        let head = client.head_object().bucket("bucket").key(&key);
        let head = head.checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
        assert_eq!(head.checksum_type(), Some(&kind));
        use s3_service::checksum::{Algorithm, encode};
        let whole = bodies.concat();
        match algorithm {
            ChecksumAlgorithm::Crc32 => {
                let expected = encode(&Algorithm::Crc32.of(&whole));
                assert_eq!(head.checksum_crc32(), Some(expected.as_str()));
            }
            ChecksumAlgorithm::Crc64Nvme => {
                let expected = encode(&Algorithm::Crc64Nvme.of(&whole));
                assert_eq!(head.checksum_crc64_nvme(), Some(expected.as_str()));
            }
            _ => {
                let sums: Vec<u8> =
                    bodies.iter().flat_map(|body| Algorithm::Sha256.of(body)).collect();
                let expected = format!("{}-2", encode(&Algorithm::Sha256.of(&sums)));
                assert_eq!(head.checksum_sha256(), Some(expected.as_str()));
            }
        }
        // The SDK checks the whole object's checksum when it reads.
        assert!(get(&client, "bucket", &key).await == whole);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_copies_with_little_memory_do_not_wait_for_one_another() {
    let little = Limits { read_bytes_max: 16 << 20, write_bytes_max: 24 << 20, ..limits() };
    let world = World::with(6, little).await;
    let client = world.bucket("bucket").await;
    put(&client, "bucket", "source", bytes(1, 15 << 20)).await;
    let id = begin(&client, "key").await;
    let copies = (1..=6).map(|number| {
        let copy = client.upload_part_copy().bucket("bucket").key("key").upload_id(&id);
        copy.part_number(number).copy_source("bucket/source").send()
    });
    let all = futures::future::join_all(copies);
    let all = tokio::time::timeout(PATIENCE, all).await.expect("they wait for ever");
    assert!(all.iter().all(Result::is_ok), "{all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_last_part_is_a_part() {
    let world = World::new(6).await;
    let client = world.bucket("bucket").await;
    let id = begin(&client, "key").await;
    let parts = vec![
        part(&client, "key", &id, 1, bytes(1, PART)).await,
        part(&client, "key", &id, 2, Vec::new()).await,
    ];
    let done = client.complete_multipart_upload().bucket("bucket").key("key").upload_id(&id);
    done.multipart_upload(all(parts)).send().await.unwrap();
    for (number, length) in [(1, i64::try_from(PART).unwrap()), (2, 0)] {
        let head = client.head_object().bucket("bucket").key("key").part_number(number);
        assert_eq!(head.send().await.unwrap().content_length(), Some(length), "part {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_at_once_do_not_wait_for_each_others_memory() {
    // Room for two segments of 7.5 MiB; each body is two of them.
    let world = World::with(6, Limits { write_bytes_max: 24 << 20, ..limits() }).await;
    let client = world.bucket("bucket").await;
    let body = bytes(1, 15 << 20);
    let puts = ["one", "two", "three"].map(|key| put(&client, "bucket", key, body.clone()));
    let done = tokio::time::timeout(PATIENCE, futures::future::join_all(puts)).await;
    assert!(done.is_ok(), "all wait for memory that all hold");
    assert!(get(&client, "bucket", "three").await == body);
}
