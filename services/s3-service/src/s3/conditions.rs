//! Conditional requests (RFC 9110 section 13), for reads and for the sources of copies.

use super::time::whole;
use crate::index::{Object, Tag};
use s3s::{
    S3Error, S3Result,
    dto::{ETagCondition, Timestamp},
    s3_error,
};

/// The conditions of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    pub(super) matches: Option<ETagCondition>,
    pub(super) differs: Option<ETagCondition>,
    pub(super) modified_since: Option<Timestamp>,
    pub(super) unmodified_since: Option<Timestamp>,
}

/// What the conditions say of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Go,
    NotModified,
    Failed,
}

/// A condition as the index knows it.
pub(super) fn tag(condition: ETagCondition) -> Tag {
    match condition {
        ETagCondition::Any => Tag::Any,
        ETagCondition::ETag(etag) => Tag::Is(etag.into_value()),
    }
}

impl Conditions {
    /// Judges an object by RFC 9110 section 13.2.2: etags go before times.
    pub(super) fn judge(&self, object: &Object) -> Verdict {
        let is = |condition: &ETagCondition| tag(condition.clone()).matches(Some(&object.etag));
        let modified = whole(object.modified_ms);
        match (&self.matches, &self.unmodified_since) {
            (Some(condition), _) if !is(condition) => return Verdict::Failed,
            (None, Some(since)) if modified > *since => return Verdict::Failed,
            _ => {}
        }
        match (&self.differs, &self.modified_since) {
            (Some(condition), _) if is(condition) => Verdict::NotModified,
            (None, Some(since)) if modified <= *since => Verdict::NotModified,
            _ => Verdict::Go,
        }
    }

    /// As [`Conditions::judge`], for a read.
    ///
    /// # Errors
    /// `NotModified` or `PreconditionFailed`.
    pub(super) fn check(&self, object: &Object) -> S3Result<()> {
        match self.judge(object) {
            Verdict::Go => Ok(()),
            Verdict::NotModified => Err(not_modified(object)),
            Verdict::Failed => Err(s3_error!(PreconditionFailed)),
        }
    }
}

fn not_modified(object: &Object) -> S3Error {
    let mut error = s3_error!(NotModified);
    let mut headers = hyper::HeaderMap::new();
    if let Ok(etag) = format!("\"{}\"", object.etag).parse() {
        headers.insert(hyper::header::ETAG, etag);
    }
    error.set_headers(headers);
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Headers;
    use crate::s3::time::stamp;

    #[test]
    fn etags_go_before_times() {
        let object = Object {
            bytes: 0,
            etag: "e".into(),
            modified_ms: 10_500,
            headers: Headers::default(),
            checksum: None,
            blobs: Vec::new(),
            parts: 0,
        };
        let etag = |text: &str| Some(text.parse::<ETagCondition>().unwrap());
        let judge = |matches, differs, modified: Option<u64>, unmodified: Option<u64>| {
            let conditions = Conditions {
                matches,
                differs,
                modified_since: modified.map(stamp),
                unmodified_since: unmodified.map(stamp),
            };
            conditions.judge(&object)
        };
        assert_eq!(judge(None, None, None, None), Verdict::Go);
        assert_eq!(judge(etag("\"e\""), None, None, Some(1_000)), Verdict::Go);
        assert_eq!(judge(etag("\"x\""), None, None, None), Verdict::Failed);
        assert_eq!(judge(None, etag("*"), None, None), Verdict::NotModified);
        assert_eq!(judge(None, etag("\"x\""), Some(20_000), None), Verdict::Go);
        assert_eq!(judge(None, None, Some(10_000), None), Verdict::NotModified);
        assert_eq!(judge(None, None, Some(9_000), None), Verdict::Go);
        assert_eq!(judge(None, None, None, Some(10_000)), Verdict::Go);
        assert_eq!(judge(None, None, None, Some(9_000)), Verdict::Failed);
    }
}
