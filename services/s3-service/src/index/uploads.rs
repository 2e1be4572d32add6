//! Multipart uploads: parts are blobs of their own, which the completed object takes over.

use super::objects::{object_key, text};
use super::{
    BlobRef, IndexError, Object, ObjectPut, Part, Reader, Tables, Upload, UploadId, cut, decode,
    from, get, put, under,
};
use crate::num::wide;

/// A part to be put.
#[derive(Clone, Debug)]
pub struct PartPut {
    /// The upload's bucket.
    pub bucket: String,
    /// The upload's key.
    pub key: String,
    /// The upload.
    pub upload: UploadId,
    /// Its number, 1 to 10,000.
    pub number: u16,
    /// The row. Its blobs' references are taken by this call.
    pub part: Part,
}

/// Which uploads to list.
#[derive(Clone, Debug, Default)]
pub struct UploadQuery<'a> {
    /// Keys that begin with this.
    pub prefix: &'a str,
    /// Only uploads after this key and, if given, after this upload of it.
    pub after: Option<(&'a str, Option<UploadId>)>,
    /// At most so many.
    pub limit: usize,
}

/// A page of uploads.
#[derive(Clone, Debug, Default)]
pub struct UploadListing {
    /// Key, upload and row, ascending.
    pub uploads: Vec<(String, UploadId, Upload)>,
    /// Whether there is more.
    pub truncated: bool,
}

fn upload_key(bucket: &str, key: &str, upload: UploadId) -> Vec<u8> {
    [&object_key(bucket, key), &[0][..], &upload.0].concat()
}

fn part_key(upload: UploadId, number: u16) -> Vec<u8> {
    [&upload.0[..], &number.to_be_bytes()].concat()
}

/// The key and the upload in a row's key.
fn split(bucket: &str, row: &[u8]) -> Result<(String, UploadId), IndexError> {
    let damaged = IndexError::Damaged("an upload's key is too short");
    let (rest, id) = row.split_last_chunk::<16>().ok_or(damaged.clone())?;
    let key = rest.get(bucket.len() + 1..rest.len().saturating_sub(1)).ok_or(damaged)?;
    Ok((text(key)?, UploadId(*id)))
}

fn number_of(row: &[u8]) -> Result<u16, IndexError> {
    row.last_chunk::<2>()
        .map(|number| u16::from_be_bytes(*number))
        .ok_or(IndexError::Damaged("a part's key is too short"))
}

impl Tables<'_> {
    /// Begins an upload.
    ///
    /// # Errors
    /// [`IndexError::NoSuchBucket`].
    pub fn create_upload(
        &mut self,
        bucket: &str,
        key: &str,
        upload: UploadId,
        row: &Upload,
    ) -> Result<(), IndexError> {
        self.expect_bucket(bucket)?;
        put(&mut self.uploads, &upload_key(bucket, key, upload), row)
    }

    /// The upload's row.
    ///
    /// # Errors
    /// [`IndexError::NoSuchUpload`].
    pub fn expect_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: UploadId,
    ) -> Result<Upload, IndexError> {
        get(&self.uploads, &upload_key(bucket, key, upload))?.ok_or(IndexError::NoSuchUpload)
    }

    /// Puts a part in the place of whatever has its number.
    ///
    /// # Errors
    /// [`IndexError::NoSuchUpload`].
    pub fn put_part(&mut self, item: &PartPut, now_ms: u64) -> Result<(), IndexError> {
        self.expect_upload(&item.bucket, &item.key, item.upload)?;
        let key = part_key(item.upload, item.number);
        let old: Option<Part> = get(&self.parts, &key)?;
        put(&mut self.parts, &key, &item.part)?;
        old.map_or(Ok(()), |old| self.drop_blobs(&old.blobs, now_ms))
    }

    fn drop_blobs(&mut self, blobs: &[BlobRef], now_ms: u64) -> Result<(), IndexError> {
        blobs.iter().try_for_each(|blob| self.release(blob.blob, now_ms))
    }

    /// Makes the object of an upload from the parts that it names by number and MD5. `item.object`
    /// comes without blobs; parts that are not named are dropped.
    ///
    /// # Errors
    /// [`IndexError::NoSuchUpload`], [`IndexError::InvalidPart`], [`IndexError::Condition`].
    pub fn complete_upload(
        &mut self,
        mut item: ObjectPut,
        upload: UploadId,
        chosen: &[(u16, [u8; 16])],
        now_ms: u64,
    ) -> Result<Object, IndexError> {
        self.expect_upload(&item.bucket, &item.key, upload)?;
        let mut parts = self.parts_of(upload)?;
        for (number, md5) in chosen {
            let at = parts
                .iter()
                .position(|(at, part)| at == number && part.md5 == *md5)
                .ok_or(IndexError::InvalidPart(*number))?;
            item.object.blobs.extend(parts.remove(at).1.blobs);
        }
        // Fails before it changes anything, and nothing was changed so far.
        self.put_object(&item, now_ms)?;
        self.take_upload(&item.bucket, &item.key, upload)?;
        for (_, part) in parts {
            self.drop_blobs(&part.blobs, now_ms)?;
        }
        Ok(item.object)
    }

    /// Ends an upload and drops its parts.
    ///
    /// # Errors
    /// [`IndexError::NoSuchUpload`].
    pub fn abort_upload(
        &mut self,
        bucket: &str,
        key: &str,
        upload: UploadId,
        now_ms: u64,
    ) -> Result<(), IndexError> {
        for (_, part) in self.take_upload(bucket, key, upload)? {
            self.drop_blobs(&part.blobs, now_ms)?;
        }
        Ok(())
    }

    pub(super) fn abort_all(&mut self, bucket: &str, now_ms: u64) -> Result<(), IndexError> {
        let uploads = under(&self.uploads, &object_key(bucket, ""))?
            .map(|row| split(bucket, row?.0.value()))
            .collect::<Result<Vec<_>, _>>()?;
        for (key, upload) in uploads {
            self.abort_upload(bucket, &key, upload, now_ms)?;
        }
        Ok(())
    }

    /// Removes the upload and its parts' rows, and returns these, ascending.
    fn take_upload(
        &mut self,
        bucket: &str,
        key: &str,
        upload: UploadId,
    ) -> Result<Vec<(u16, Part)>, IndexError> {
        self.expect_upload(bucket, key, upload)?;
        cut(&mut self.uploads, &upload_key(bucket, key, upload))?;
        let parts = self.parts_of(upload)?;
        for (number, _) in &parts {
            cut(&mut self.parts, &part_key(upload, *number))?;
        }
        Ok(parts)
    }

    fn parts_of(&self, upload: UploadId) -> Result<Vec<(u16, Part)>, IndexError> {
        under(&self.parts, &upload.0)?
            .map(|row| {
                let (key, row) = row?;
                Ok((number_of(key.value())?, decode(row.value())?))
            })
            .collect()
    }
}

impl Reader {
    /// The upload's row.
    ///
    /// # Errors
    /// [`IndexError::NoSuchUpload`].
    pub fn upload(&self, bucket: &str, key: &str, upload: UploadId) -> Result<Upload, IndexError> {
        get(&self.uploads, &upload_key(bucket, key, upload))?.ok_or(IndexError::NoSuchUpload)
    }

    /// Up to `limit` parts with numbers above `after`, ascending, and whether there are more.
    ///
    /// # Errors
    /// [`IndexError::Store`].
    pub fn parts(
        &self,
        upload: UploadId,
        after: u16,
        limit: usize,
    ) -> Result<(Vec<(u16, Part)>, bool), IndexError> {
        let mut parts = Vec::new();
        let Some(first) = after.checked_add(1) else { return Ok((parts, false)) };
        for row in from(&self.parts, &upload.0, &part_key(upload, first))? {
            let (key, row) = row?;
            if parts.len() == limit {
                return Ok((parts, true));
            }
            parts.push((number_of(key.value())?, decode(row.value())?));
        }
        Ok((parts, false))
    }

    /// A page of a bucket's uploads.
    ///
    /// # Errors
    /// [`IndexError::NoSuchBucket`].
    pub fn uploads(
        &self,
        bucket: &str,
        query: &UploadQuery<'_>,
    ) -> Result<UploadListing, IndexError> {
        self.bucket(bucket)?;
        let base = object_key(bucket, query.prefix);
        let mut page = UploadListing::default();
        for row in under(&self.uploads, &base)? {
            let (row_key, row) = row?;
            let (key, upload) = split(bucket, row_key.value())?;
            let passed = query.after.is_some_and(|(after, id)| {
                key.as_str() < after || key == after && id.is_none_or(|id| upload <= id)
            });
            if passed {
                continue;
            }
            if wide(page.uploads.len()) >= wide(query.limit) {
                page.truncated = true;
                break;
            }
            page.uploads.push((key, upload, decode(row.value())?));
        }
        Ok(page)
    }
}
