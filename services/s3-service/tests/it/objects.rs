//! Buckets and objects as clients use them.

use crate::world::{PATIENCE, World, bytes, code, get, limits, put};
use aws_sdk_s3::{
    presigning::PresigningConfig,
    primitives::{ByteStream, DateTime},
    types::{Delete, MetadataDirective, ObjectIdentifier, ObjectLockLegalHoldStatus},
};
use s3_service::Limits;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_live_and_die() {
    let world = World::new(8).await;
    let client = world.bucket("first-bucket").await;
    client.create_bucket().bucket("second.bucket").send().await.unwrap();
    let again = client.create_bucket().bucket("first-bucket").send().await;
    assert_eq!(code(again), "BucketAlreadyOwnedByYou");
    let listed = client.list_buckets().send().await.unwrap();
    let names: Vec<_> = listed.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert_eq!(names, ["first-bucket", "second.bucket"]);
    client.head_bucket().bucket("first-bucket").send().await.unwrap();
    assert_eq!(code(client.head_bucket().bucket("third").send().await), "NotFound");
    let location = client.get_bucket_location().bucket("first-bucket").send().await.unwrap();
    assert!(location.location_constraint().is_none_or(|place| place.as_str().is_empty()));
    put(&client, "first-bucket", "key", vec![1]).await;
    let full = client.delete_bucket().bucket("first-bucket").send().await;
    assert_eq!(code(full), "BucketNotEmpty");
    client.delete_bucket().bucket("second.bucket").send().await.unwrap();
    let gone = client.delete_bucket().bucket("second.bucket").send().await;
    assert_eq!(code(gone), "NoSuchBucket");
    for name in ["Upper", "ab", "a..b", "192.168.1.1", &"x".repeat(64)] {
        let refused = client.create_bucket().bucket(name).send().await;
        assert_eq!(code(refused), "InvalidBucketName", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_size_comes_back() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let mib = 1 << 20;
    let sizes = [0, 1, 4_096, 65_536, mib - 1, mib, mib + 1, 3 * mib + 17, 67 * mib + 5];
    for (seed, size) in (0..).zip(sizes) {
        let body = bytes(seed, size);
        let key = format!("folder/size {size} é+%");
        let etag = put(&client, "bucket", &key, body.clone()).await;
        let md5 = s3_service::checksum::md5(&body);
        assert_eq!(etag, format!("\"{}\"", alloy_primitives::hex::encode(md5)));
        assert!(get(&client, "bucket", &key).await == body, "size {size}");
        let head = client.head_object().bucket("bucket").key(&key).send().await.unwrap();
        assert_eq!(head.content_length(), i64::try_from(size).ok());
        assert_eq!(head.e_tag(), Some(etag.as_str()));
    }
    let snapshot = world.running().snapshot().await.unwrap();
    assert_eq!(snapshot.objects, 9);
    let sum: usize = sizes.iter().sum();
    assert_eq!(snapshot.object_bytes, u64::try_from(sum).unwrap());
    assert!(snapshot.promised > protocol::Micros::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let size = (2 << 20) + 777;
    let body = bytes(1, size);
    put(&client, "bucket", "key", body.clone()).await;
    let cases = [
        ("bytes=0-0", 0..1),
        ("bytes=65535-65536", 65_535..65_537),
        ("bytes=1000-1999999", 1_000..2_000_000),
        ("bytes=2000000-", 2_000_000..size),
        ("bytes=-1", size - 1..size),
        ("bytes=-70000", size - 70_000..size),
        ("bytes=-99999999", 0..size),
        ("bytes=5-99999999", 5..size),
    ];
    for (range, span) in cases {
        let got =
            client.get_object().bucket("bucket").key("key").range(range).send().await.unwrap();
        let said = format!("bytes {}-{}/{size}", span.start, span.end - 1);
        assert_eq!(got.content_range(), Some(said.as_str()), "{range}");
        assert_eq!(got.content_length(), i64::try_from(span.len()).ok());
        assert!(got.body.collect().await.unwrap().to_vec() == body[span], "{range}");
    }
    for range in ["bytes=99999999-", "bytes=-0"] {
        let refused = client.get_object().bucket("bucket").key("key").range(range).send().await;
        assert_eq!(code(refused), "InvalidRange", "{range}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_range_asks_one_agent_for_little() {
    let patient = Limits { hedge: Duration::from_secs(600), ..limits() };
    let world = World::with(8, patient).await;
    let client = world.bucket("bucket").await;
    put(&client, "bucket", "key", bytes(1, 8 << 20)).await;
    world.until("all six are durable", async |world| world.queued().await == 0).await;
    let delivered = |world: &World| -> u64 {
        let rails = world.ledger.rails();
        let all = world
            .agents
            .iter()
            .map(|(peer, device)| world.shards.promised(*peer, rails[device].id).1);
        all.sum()
    };
    assert_eq!(delivered(&world), 0);
    let got = client.get_object().bucket("bucket").key("key").range("bytes=100-199");
    got.send().await.unwrap().body.collect().await.unwrap();
    assert_eq!(delivered(&world), 65_536 + 16);
    // And every byte delivered is promised to be paid.
    let rails = world.ledger.rails();
    for (peer, device) in &world.agents {
        let (promised, delivered) = world.shards.promised(*peer, rails[device].id);
        let due = crate::world::terms().dollars(delivered, crate::world::terms().delivery_price);
        assert!(promised >= due);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let etag = put(&client, "bucket", "key", b"one".to_vec()).await;
    let read = || client.get_object().bucket("bucket").key("key");
    read().if_match(&etag).send().await.unwrap();
    assert_eq!(code(read().if_match("\"other\"").send().await), "PreconditionFailed");
    assert_eq!(code(read().if_none_match(&etag).send().await), "304");
    read().if_none_match("\"other\"").send().await.unwrap();
    let (long_ago, far) = (DateTime::from_secs(1_000_000), DateTime::from_secs(4_000_000_000));
    assert_eq!(code(read().if_modified_since(far).send().await), "304");
    read().if_modified_since(long_ago).send().await.unwrap();
    assert_eq!(code(read().if_unmodified_since(long_ago).send().await), "PreconditionFailed");
    let head = client.head_object().bucket("bucket").key("key").if_none_match(&etag).send().await;
    assert_eq!(code(head), "304");

    let write = |key: &str| {
        client.put_object().bucket("bucket").key(key).body(ByteStream::from_static(b"two"))
    };
    assert_eq!(code(write("key").if_none_match("*").send().await), "PreconditionFailed");
    write("new").if_none_match("*").send().await.unwrap();
    assert_eq!(code(write("key").if_match("\"other\"").send().await), "PreconditionFailed");
    write("key").if_match(&etag).send().await.unwrap();
    assert_eq!(code(write("none").if_match(&etag).send().await), "NoSuchKey");
    assert_eq!(get(&client, "bucket", "key").await, b"two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_and_metadata_stay() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    client
        .put_object()
        .bucket("bucket")
        .key("key")
        .content_type("text/plain; charset=utf-8")
        .content_encoding("gzip")
        .content_language("en-GB")
        .content_disposition("attachment")
        .cache_control("no-store")
        .expires(DateTime::from_secs(2_000_000_000))
        .metadata("colour", "blue")
        .metadata("shape", "round")
        .body(ByteStream::from_static(b"x"))
        .send()
        .await
        .unwrap();
    let head = client.head_object().bucket("bucket").key("key").send().await.unwrap();
    assert_eq!(head.content_type(), Some("text/plain; charset=utf-8"));
    assert_eq!(head.content_encoding(), Some("gzip"));
    assert_eq!(head.content_language(), Some("en-GB"));
    assert_eq!(head.content_disposition(), Some("attachment"));
    assert_eq!(head.cache_control(), Some("no-store"));
    let metadata = head.metadata().unwrap();
    assert_eq!((metadata["colour"].as_str(), metadata["shape"].as_str()), ("blue", "round"));
    let got = client.get_object().bucket("bucket").key("key").response_content_type("a/b");
    let got = got.send().await.unwrap();
    assert_eq!(got.content_type(), Some("a/b"));
    assert_eq!(got.expires_string(), Some("Wed, 18 May 2033 03:33:20 GMT"));
    let large = client
        .put_object()
        .bucket("bucket")
        .key("large")
        .metadata("much", "m".repeat(3_000))
        .send()
        .await;
    assert_eq!(code(large), "MetadataTooLarge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletes() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    for key in ["a", "b", "c", "d"] {
        put(&client, "bucket", key, bytes(1, 10)).await;
    }
    client.delete_object().bucket("bucket").key("a").send().await.unwrap();
    client.delete_object().bucket("bucket").key("a").send().await.unwrap();
    let missing = client.get_object().bucket("bucket").key("a").send().await;
    assert_eq!(code(missing), "NoSuchKey");
    let id = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let delete =
        Delete::builder().set_objects(Some(vec![id("b"), id("c"), id("zz")])).build().unwrap();
    let done = client.delete_objects().bucket("bucket").delete(delete).send().await.unwrap();
    assert_eq!((done.deleted().len(), done.errors().len()), (3, 0));
    let left = client.list_objects_v2().bucket("bucket").send().await.unwrap();
    assert_eq!(left.contents().len(), 1);
    let absent = client.delete_object().bucket("nowhere").key("a").send().await;
    assert_eq!(code(absent), "NoSuchBucket");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_share_and_outlive() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let body = bytes(3, 300_000);
    client
        .put_object()
        .bucket("bucket")
        .key("from here")
        .metadata("kept", "yes")
        .body(ByteStream::from(body.clone()))
        .send()
        .await
        .unwrap();
    let before = world.running().snapshot().await.unwrap();
    let copy = |key: &str| {
        client.copy_object().bucket("bucket").key(key).copy_source("bucket/from%20here")
    };
    copy("to").send().await.unwrap();
    copy("changed")
        .metadata_directive(MetadataDirective::Replace)
        .metadata("new", "1")
        .send()
        .await
        .unwrap();
    assert_eq!(code(copy("from here").send().await), "InvalidRequest");
    let failed = copy("no").copy_source_if_match("\"other\"").send().await;
    assert_eq!(code(failed), "PreconditionFailed");
    let after = world.running().snapshot().await.unwrap();
    assert_eq!(after.segments, before.segments);
    client.delete_object().bucket("bucket").key("from here").send().await.unwrap();
    assert!(get(&client, "bucket", "to").await == body);
    let head = client.head_object().bucket("bucket").key("to").send().await.unwrap();
    assert_eq!(head.metadata().unwrap()["kept"], "yes");
    let head = client.head_object().bucket("bucket").key("changed").send().await.unwrap();
    let metadata = head.metadata().unwrap();
    assert!(metadata["new"] == "1" && !metadata.contains_key("kept"));
    let gone = client.copy_object().bucket("bucket").key("x").copy_source("bucket/gone");
    assert_eq!(code(gone.send().await), "NoSuchKey");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_puts_to_one_key_leave_one_whole() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let bodies: Vec<Vec<u8>> =
        (0..16).map(|seed| bytes(seed, if seed % 4 == 0 { 1_500_000 } else { 5_000 })).collect();
    let puts = bodies.iter().map(|body| put(&client, "bucket", "key", body.clone()));
    let etags = futures::future::join_all(puts).await;
    let left = get(&client, "bucket", "key").await;
    let at = bodies.iter().position(|body| *body == left).expect("one of them, whole");
    let head = client.head_object().bucket("bucket").key("key").send().await.unwrap();
    assert_eq!(head.e_tag(), Some(etags[at].as_str()));
    // Only one segment's worth stays once the others are collected.
    let collected = async |world: &World| {
        let snapshot = world.running().snapshot().await.unwrap();
        snapshot.objects == 1 && snapshot.segments == 1
    };
    world.until("the losers are collected", collected).await;
    assert_eq!(get(&client, "bucket", "key").await, left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_objects_are_packed_together() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let keys: Vec<String> = (0..200).map(|at| format!("key-{at:03}")).collect();
    let puts = keys.iter().zip(0..).map(|(key, at)| put(&client, "bucket", key, bytes(at, 900)));
    futures::future::join_all(puts).await;
    // Far fewer segments than objects; packed again until few are left.
    let packed = async |world: &World| world.running().snapshot().await.unwrap().segments < 16;
    world.until("packed again", packed).await;
    for (key, at) in keys.iter().zip(0..) {
        assert_eq!(get(&client, "bucket", key).await, bytes(at, 900), "{key}");
    }
    assert_eq!(world.running().snapshot().await.unwrap().objects, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presigned_urls_need_no_client() {
    let world = World::new(8).await;
    let client = world.bucket("bucket").await;
    let hour = PresigningConfig::expires_in(Duration::from_secs(3_600)).unwrap();
    let to = client.put_object().bucket("bucket").key("signed key").presigned(hour.clone());
    let to = to.await.unwrap();
    let (status, _) = raw(&world, "PUT", to.uri(), b"by url".to_vec()).await;
    assert_eq!(status, 200);
    let from = client.get_object().bucket("bucket").key("signed key").presigned(hour);
    let from = from.await.unwrap();
    let (status, body) = raw(&world, "GET", from.uri(), Vec::new()).await;
    assert_eq!((status, body.as_slice()), (200, b"by url".as_slice()));
    let forged = from.uri().replace("signed%20key", "other%20key");
    let (status, body) = raw(&world, "GET", &forged, Vec::new()).await;
    assert_eq!(status, 403);
    assert!(String::from_utf8(body).unwrap().contains("SignatureDoesNotMatch"));
    let old = PresigningConfig::builder()
        .start_time(std::time::SystemTime::now() - Duration::from_secs(7_200))
        .expires_in(Duration::from_secs(60))
        .build()
        .unwrap();
    let old = client.get_object().bucket("bucket").key("signed key").presigned(old).await.unwrap();
    assert_eq!(raw(&world, "GET", old.uri(), Vec::new()).await.0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused() {
    let world = World::new(8).await;
    world.bucket("bucket").await;
    let access = &world.running().credentials().access_key;
    let wrong = world.client_as(access, "another secret").list_buckets().send().await;
    assert_eq!(code(wrong), "SignatureDoesNotMatch");
    let unknown = world.client_as("nobody", "another secret").list_buckets().send().await;
    assert_eq!(code(unknown), "InvalidAccessKeyId");
    let url = format!("{}/bucket/key", world.running().url());
    assert_eq!(raw(&world, "GET", &url, Vec::new()).await.0, 403);
    let old = format!("{url}?AWSAccessKeyId={access}&Signature=x&Expires=99999999999");
    let (status, body) = raw(&world, "GET", &old, Vec::new()).await;
    assert_eq!(status, 400);
    assert!(String::from_utf8(body).unwrap().contains("AWS4-HMAC-SHA256"));
    let client = world.client();
    let long = client.put_object().bucket("bucket").key("k".repeat(1_025)).send().await;
    assert_eq!(code(long), "KeyTooLongError");
    let sealed = client.put_object().bucket("bucket").key("k").tagging("a=b").send().await;
    assert_eq!(code(sealed), "NotImplemented");
}

/// A request without an SDK.
pub(crate) async fn raw(world: &World, method: &str, url: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
    use futures::StreamExt as _;
    let stream = tokio::net::TcpStream::connect(world.running().address()).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let uri: hyper::Uri = url.parse().unwrap();
    let request = hyper::Request::builder()
        .method(method)
        .uri(uri.path_and_query().unwrap().as_str())
        .header("host", uri.authority().unwrap().as_str())
        .header("content-length", body.len())
        .body(s3s::Body::from(body))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let mut body = s3s::Body::from(response.into_body());
    let mut all = Vec::new();
    while let Some(chunk) = body.next().await {
        all.extend_from_slice(&chunk.unwrap());
    }
    (status, all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_encoding_of_a_request_is_not_the_objects() {
    let world = World::new(6).await;
    let client = world.bucket("bucket").await;
    let cases = [
        ("aws-chunked", None),
        ("gzip,aws-chunked", Some("gzip")),
        ("AWS-chunked, br", Some("br")),
    ];
    for (given, kept) in cases {
        let put = client.put_object().bucket("bucket").key("key").content_encoding(given);
        put.body(ByteStream::from_static(b"x")).send().await.unwrap();
        let head = client.head_object().bucket("bucket").key("key").send().await.unwrap();
        assert_eq!(head.content_encoding(), kept, "{given}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_there_is_not_is_said_and_locks_are_refused() {
    let world = World::new(6).await;
    let client = world.bucket("bucket").await;
    put(&client, "bucket", "key", vec![1]).await;
    put(&client, "bucket", "other", vec![2]).await;
    let tags = client.get_object_tagging().bucket("bucket").key("key").send().await.unwrap();
    assert!(tags.tag_set().is_empty());
    let missing = client.get_object_tagging().bucket("bucket").key("none").send().await;
    assert_eq!(code(missing), "NoSuchKey");
    let versioning = client.get_bucket_versioning().bucket("bucket").send().await.unwrap();
    assert_eq!(versioning.status(), None);
    let bucket = client.get_bucket_acl().bucket("bucket").send().await.unwrap();
    let object = client.get_object_acl().bucket("bucket").key("key").send().await.unwrap();
    assert_eq!((bucket.grants().len(), bucket.grants()), (1, object.grants()));
    let first = client.list_object_versions().bucket("bucket").max_keys(1).send().await.unwrap();
    let page = client.list_object_versions().bucket("bucket");
    let rest = page.set_key_marker(first.next_key_marker).send().await.unwrap();
    let version = &rest.versions()[0];
    assert_eq!(rest.versions().len(), 1);
    assert_eq!((version.key(), version.version_id()), (Some("other"), Some("null")));
    let held = client.put_object().bucket("bucket").key("held");
    let held = held.object_lock_legal_hold_status(ObjectLockLegalHoldStatus::On).send().await;
    assert_eq!(code(held), "NotImplemented");
    let until = client.put_object().bucket("bucket").key("held");
    let until = until.object_lock_retain_until_date(DateTime::from_secs(1 << 32)).send().await;
    assert_eq!(code(until), "NotImplemented");
}

/// The answer to raw bytes.
async fn spoken(world: &World, request: &[u8]) -> String {
    let mut stream = tokio::net::TcpStream::connect(world.running().address()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A connection that is reset after the answer has given it.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_are_refused_before_they_are_read() {
    let world = World::new(6).await;
    world.bucket("bucket").await;
    let body = "--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nkey\r\n--x\r\n\
                Content-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nbytes\r\n--x--\r\n";
    let request = format!(
        "POST /bucket HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\
         content-type: Multipart/Form-Data; boundary=x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = spoken(&world, request.as_bytes()).await;
    assert!(answer.contains("forms are not accepted"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_make_room_for_others() {
    let limits = Limits { connections_max: 2, headers: Duration::from_secs(1), ..limits() };
    let world = World::with(6, limits).await;
    let address = world.running().address();
    let silent = [
        tokio::net::TcpStream::connect(address).await.unwrap(),
        tokio::net::TcpStream::connect(address).await.unwrap(),
    ];
    let answered = tokio::time::timeout(PATIENCE, world.bucket("bucket")).await;
    assert!(answered.is_ok(), "two silent connections lock everybody out");
    drop(silent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_falls_asleep_in_a_body_is_sent_away() {
    let limits = Limits { client_patience: Duration::from_millis(500), ..limits() };
    let world = World::with(6, limits).await;
    let client = world.bucket("bucket").await;
    let within = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
    let presigned = client.put_object().bucket("bucket").key("key").presigned(within).await;
    let url: hyper::Uri = presigned.unwrap().uri().parse().unwrap();
    for length in [1_000, 5 << 20] {
        let request = format!(
            "PUT {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\nhalf",
            url.path_and_query().unwrap(),
            url.authority().unwrap(),
        );
        let answer = tokio::time::timeout(PATIENCE, spoken(&world, request.as_bytes()));
        let answer = answer.await.expect("it waits for ever");
        assert!(answer.contains("RequestTimeout"), "{answer}");
    }
}
