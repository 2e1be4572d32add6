//! Listings, page by page, in both versions.

use crate::world::{World, code, put};
use aws_sdk_s3::{Client, types::EncodingType};

const KEYS: [&str; 9] =
    ["a", "a/1", "a/2", "a/b/3", "b/1", "c", "c d", "photos/2026/x", "\u{fc}ber"];

async fn filled(world: &World) -> Client {
    let client = world.bucket("bucket").await;
    for key in KEYS {
        put(&client, "bucket", key, key.as_bytes().to_vec()).await;
    }
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_2_pages_through_everything() {
    let world = World::new(8).await;
    let client = filled(&world).await;
    for size in [1, 2, 4, 1_000] {
        let (mut keys, mut token) = (Vec::new(), None);
        loop {
            let page = client
                .list_objects_v2()
                .bucket("bucket")
                .max_keys(size)
                .set_continuation_token(token)
                .send()
                .await
                .unwrap();
            assert!(page.key_count().unwrap() <= size);
            keys.extend(page.contents().iter().map(|object| {
                let key = object.key().unwrap().to_owned();
                assert_eq!(object.size(), i64::try_from(key.len()).ok());
                assert!(object.e_tag().unwrap().len() == 34);
                key
            }));
            token = page.next_continuation_token().map(str::to_owned);
            assert_eq!(token.is_some(), page.is_truncated().unwrap());
            if token.is_none() {
                break;
            }
        }
        assert_eq!(keys, KEYS, "pages of {size}");
    }
    let none = client.list_objects_v2().bucket("bucket").max_keys(0).send().await.unwrap();
    assert_eq!((none.key_count(), none.is_truncated()), (Some(0), Some(false)));
    let bad = client.list_objects_v2().bucket("bucket").continuation_token("%%").send().await;
    assert_eq!(code(bad), "InvalidArgument");
    let nowhere = client.list_objects_v2().bucket("nowhere").send().await;
    assert_eq!(code(nowhere), "NoSuchBucket");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delimiters_roll_up() {
    let world = World::new(8).await;
    let client = filled(&world).await;
    for size in [1, 3, 1_000] {
        let (mut keys, mut prefixes, mut token) = (Vec::new(), Vec::new(), None);
        loop {
            let page = client
                .list_objects_v2()
                .bucket("bucket")
                .delimiter("/")
                .max_keys(size)
                .set_continuation_token(token)
                .send()
                .await
                .unwrap();
            keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
            let rolled = page.common_prefixes().iter();
            prefixes.extend(rolled.map(|prefix| prefix.prefix().unwrap().to_owned()));
            token = page.next_continuation_token().map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        assert_eq!(keys, ["a", "c", "c d", "\u{fc}ber"], "pages of {size}");
        assert_eq!(prefixes, ["a/", "b/", "photos/"], "pages of {size}");
    }
    let within = client.list_objects_v2().bucket("bucket").prefix("a/").delimiter("/");
    let within = within.send().await.unwrap();
    let keys: Vec<_> = within.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, ["a/1", "a/2"]);
    assert_eq!(within.common_prefixes()[0].prefix(), Some("a/b/"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_after_prefix_and_encoding() {
    let world = World::new(8).await;
    let client = filled(&world).await;
    let after = client.list_objects_v2().bucket("bucket").start_after("b/1").send().await.unwrap();
    let keys: Vec<_> = after.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, &KEYS[5..]);
    let coded = client
        .list_objects_v2()
        .bucket("bucket")
        .prefix("c ")
        .encoding_type(EncodingType::Url)
        .send()
        .await
        .unwrap();
    assert_eq!(coded.contents()[0].key(), Some("c%20d"));
    assert_eq!(coded.prefix(), Some("c%20"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_1_pages_by_marker() {
    let world = World::new(8).await;
    let client = filled(&world).await;
    let (mut entries, mut marker) = (Vec::new(), None::<String>);
    loop {
        let page = client
            .list_objects()
            .bucket("bucket")
            .delimiter("/")
            .max_keys(2)
            .set_marker(marker)
            .send()
            .await
            .unwrap();
        entries.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        let rolled = page.common_prefixes().iter();
        entries.extend(rolled.filter_map(|prefix| prefix.prefix().map(str::to_owned)));
        marker = page.next_marker().map(str::to_owned);
        assert_eq!(marker.is_some(), page.is_truncated().unwrap());
        if marker.is_none() {
            break;
        }
    }
    entries.sort();
    assert_eq!(entries, ["a", "a/", "b/", "c", "c d", "photos/", "\u{fc}ber"]);
    let plain = client.list_objects().bucket("bucket").max_keys(3).send().await.unwrap();
    assert_eq!((plain.is_truncated(), plain.next_marker()), (Some(true), None));
    let rest = client.list_objects().bucket("bucket").marker("a/2").send().await.unwrap();
    assert_eq!(rest.contents().len(), 6);
}
