//! What inputs and outputs of S3 have in common. The generated types share fields and no trait, so this
//! is said once as macros.

/// What a request says of the object that it makes.
macro_rules! headers {
    ($input:ident) => {
        $crate::index::Headers {
            content_type: $input.content_type,
            content_encoding: $crate::s3::object::encoding($input.content_encoding),
            content_language: $input.content_language,
            content_disposition: $input.content_disposition,
            cache_control: $input.cache_control,
            expires_ms: $input.expires.as_ref().and_then($crate::s3::time::millis),
            metadata: $crate::s3::object::metadata($input.metadata)?,
        }
    };
}

/// Refuses what no request that makes an object may ask for, and `more`.
macro_rules! refuse_unsupported {
    ($input:ident $(, $more:expr)*) => {
        $crate::s3::object::refuse(&[
            ($input.sse_customer_key.is_some(), "encryption with keys of the customer"),
            (
                $crate::s3::object::is_foreign($input.server_side_encryption.as_ref()),
                "this encryption",
            ),
            ($input.tagging.is_some(), "tagging"),
            (
                $input.object_lock_mode.is_some()
                    || $input.object_lock_legal_hold_status.is_some()
                    || $input.object_lock_retain_until_date.is_some(),
                "object locking",
            ),
            $($more,)*
        ])?;
        $crate::s3::object::check_class($input.storage_class.as_ref())?;
    };
}

/// What a request says of its body.
macro_rules! said {
    ($request:ident, $input:ident, $wanted:expr) => {
        $crate::s3::body::Said {
            length: $input.content_length,
            md5: $input.content_md5.as_deref(),
            checksums: [
                $input.checksum_crc32.as_deref(),
                $input.checksum_crc32c.as_deref(),
                $input.checksum_sha1.as_deref(),
                $input.checksum_sha256.as_deref(),
                $input.checksum_crc64nvme.as_deref(),
            ],
            headers: &$request.headers,
            trailers: $request.trailing_headers,
            wanted: $wanted,
        }
    };
}

/// What a read asks for.
macro_rules! sought {
    ($input:ident) => {
        $crate::s3::object::Sought {
            bucket: $input.bucket,
            key: $input.key,
            conditions: $crate::s3::conditions::Conditions {
                matches: $input.if_match,
                differs: $input.if_none_match,
                modified_since: $input.if_modified_since,
                unmodified_since: $input.if_unmodified_since,
            },
            range: $input.range,
            part: $input.part_number,
            version: $input.version_id,
        }
    };
}

/// What a read answers of an object that was [`found`](crate::s3::object), in whichever output, with
/// further fields.
macro_rules! described {
    ($output:ident, $input:ident, $found:ident $(, $field:ident: $value:expr)*) => {{
        let with_sums = $input.checksum_mode.is_some() && $found.content_range.is_none();
        let $crate::s3::object::Shown { etag, sums, kind } =
            $crate::s3::object::shown(&$found.object);
        let [crc32, crc32c, sha1, sha256, crc64nvme] =
            if with_sums { sums } else { Default::default() };
        let headers = $found.object.headers;
        $output {
            accept_ranges: Some("bytes".into()),
            content_length: i64::try_from($found.span.end - $found.span.start).ok(),
            content_range: $found.content_range,
            parts_count: $found.parts_count,
            e_tag: Some(etag),
            last_modified: Some($crate::s3::time::stamp($found.object.modified_ms)),
            content_type: headers.content_type.or_else(|| Some("binary/octet-stream".into())),
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            content_disposition: headers.content_disposition,
            cache_control: headers.cache_control,
            expires: headers.expires_ms.map($crate::s3::time::whole),
            metadata: Some(headers.metadata.into_iter().collect()),
            checksum_crc32: crc32,
            checksum_crc32c: crc32c,
            checksum_sha1: sha1,
            checksum_sha256: sha256,
            checksum_crc64nvme: crc64nvme,
            checksum_type: kind.filter(|_| with_sums),
            $($field: $value,)*
            ..Default::default()
        }
    }};
}

pub(super) use {described, headers, refuse_unsupported, said, sought};
