//! The digests of S3: MD5 for etags, and the checksums that clients send and ask for.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use s3s::{
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256},
};

/// An algorithm of `x-amz-checksum-*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// CRC-32 (ISO-HDLC).
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// CRC-64/NVME.
    Crc64Nvme,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Crc32, Self::Crc32c, Self::Sha1, Self::Sha256, Self::Crc64Nvme];

    /// Its number in the index ([`crate::index::Checksum::algorithm`]).
    pub const fn code(self) -> u8 {
        match self {
            Self::Crc32 => 1,
            Self::Crc32c => 2,
            Self::Sha1 => 3,
            Self::Sha256 => 4,
            Self::Crc64Nvme => 5,
        }
    }

    /// The algorithm of a number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.code() == code)
    }

    /// Its name in S3's enumerations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Crc64Nvme => "CRC64NVME",
        }
    }

    /// Its header.
    pub const fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
        }
    }

    /// The algorithm of a name in S3's enumerations.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The algorithm of a header or trailer.
    pub fn from_header(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name))
    }

    /// Length of its value, bytes.
    pub const fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Whether the checksum of a whole follows from those of its parts.
    pub const fn is_linear(self) -> bool {
        matches!(self, Self::Crc32 | Self::Crc32c | Self::Crc64Nvme)
    }

    fn hasher(self) -> ChecksumHasher {
        let mut hasher = ChecksumHasher::default();
        match self {
            Self::Crc32 => hasher.crc32 = Some(Crc32::new()),
            Self::Crc32c => hasher.crc32c = Some(Crc32c::new()),
            Self::Sha1 => hasher.sha1 = Some(Sha1::new()),
            Self::Sha256 => hasher.sha256 = Some(Sha256::new()),
            Self::Crc64Nvme => hasher.crc64nvme = Some(Crc64Nvme::new()),
        }
        hasher
    }

    /// The checksum of `bytes`.
    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        self.value(hasher)
    }

    fn value(self, hasher: ChecksumHasher) -> Vec<u8> {
        let sums = hasher.finalize();
        let text = match self {
            Self::Crc32 => sums.checksum_crc32,
            Self::Crc32c => sums.checksum_crc32c,
            Self::Sha1 => sums.checksum_sha1,
            Self::Sha256 => sums.checksum_sha256,
            Self::Crc64Nvme => sums.checksum_crc64nvme,
        };
        text.and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default()
    }

    /// The checksum of two runs of bytes after one another, from the checksums of both and the
    /// length of the second. Only for linear algorithms.
    ///
    /// Appending a zero bit multiplies the remainder by x; the matrix of that is squared for every
    /// bit of the length (Adler, zlib's `crc32_combine`). All three are reflected, with the same
    /// initial and final inversion, which cancel.
    pub fn combine(self, first: &[u8], second: &[u8], second_bytes: u64) -> Option<Vec<u8>> {
        let (polynomial, width): (u64, u32) = match self {
            Self::Crc32 => (0xedb8_8320, 32),
            Self::Crc32c => (0x82f6_3b78, 32),
            Self::Crc64Nvme => (0x9a6c_9329_ac4b_c9b5, 64),
            Self::Sha1 | Self::Sha256 => return None,
        };
        if first.len() != self.length() || second.len() != self.length() {
            return None;
        }
        let number =
            |bytes: &[u8]| bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let mut shift: Vec<u64> =
            std::iter::once(polynomial).chain((0..width - 1).map(|bit| 1u64 << bit)).collect();
        let mut sum = number(first);
        // Eight shifts by one bit make one by a byte.
        for _ in 0..3 {
            shift = square(&shift);
        }
        let mut length = second_bytes;
        while length > 0 {
            if length & 1 == 1 {
                sum = times(&shift, sum);
            }
            shift = square(&shift);
            length >>= 1;
        }
        let sum = (sum ^ number(second)).to_be_bytes();
        Some(sum[sum.len() - self.length()..].to_vec())
    }
}

fn times(matrix: &[u64], vector: u64) -> u64 {
    matrix
        .iter()
        .enumerate()
        .filter(|(bit, _)| vector >> bit & 1 == 1)
        .fold(0, |sum, (_, column)| sum ^ column)
}

fn square(matrix: &[u64]) -> Vec<u64> {
    matrix.iter().map(|column| times(matrix, *column)).collect()
}

/// What a client says that the bytes are.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// `Content-MD5`.
    pub md5: Option<[u8; 16]>,
    /// A checksum to be made, and what it is to be.
    pub checksum: Option<(Algorithm, Given)>,
}

/// Where a checksum is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// In a header.
    Value(Vec<u8>),
    /// In a trailer, after the bytes.
    Trailer,
    /// Nowhere: it is only wanted.
    Nowhere,
}

/// The digests of the bytes that came.
#[derive(Clone, Debug)]
pub struct Digests {
    /// MD5.
    pub md5: [u8; 16],
    /// The checksum wanted.
    pub checksum: Option<(Algorithm, Vec<u8>)>,
}

/// Digests bytes as they come.
pub struct Digester {
    md5: Md5,
    checksum: Option<(Algorithm, ChecksumHasher)>,
}

impl std::fmt::Debug for Digester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Digester").finish_non_exhaustive()
    }
}

impl Digester {
    /// MD5, and `algorithm` if one is wanted.
    pub fn new(algorithm: Option<Algorithm>) -> Self {
        let checksum = algorithm.map(|algorithm| (algorithm, algorithm.hasher()));
        Self { md5: Md5::new(), checksum }
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        if let Some((_, hasher)) = &mut self.checksum {
            hasher.update(bytes);
        }
    }

    /// The digests.
    pub fn finish(self) -> Digests {
        let checksum =
            self.checksum.map(|(algorithm, hasher)| (algorithm, algorithm.value(hasher)));
        Digests { md5: self.md5.finalize(), checksum }
    }
}

/// MD5 of `bytes`.
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::checksum(bytes)
}

/// Base 64, as headers carry it.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// From base 64.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::hex;
    use proptest::prelude::*;

    #[test]
    fn known_answers() {
        // The check values of the CRC catalogue, and FIPS 180.
        let check = b"123456789";
        assert_eq!(Algorithm::Crc32.of(check), hex!("cbf43926"));
        assert_eq!(Algorithm::Crc32c.of(check), hex!("e3069283"));
        assert_eq!(Algorithm::Crc64Nvme.of(check), hex!("ae8b14860a799888"));
        assert_eq!(Algorithm::Sha1.of(b"abc"), hex!("a9993e364706816aba3e25717850c26c9cd0d89d"));
        assert_eq!(Algorithm::Sha256.of(b"abc")[..4], hex!("ba7816bf"));
        assert_eq!(md5(b"abc"), hex!("900150983cd24fb0d6963f7d28e17f72"));
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.of(check).len(), algorithm.length());
            assert_eq!(Algorithm::from_code(algorithm.code()), Some(algorithm));
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
            assert_eq!(Algorithm::from_header(algorithm.header()), Some(algorithm));
        }
    }

    proptest! {
        #[test]
        fn parts_combine(first in prop::collection::vec(any::<u8>(), 0..300),
                         second in prop::collection::vec(any::<u8>(), 0..300)) {
            let whole = [&first[..], &second[..]].concat();
            for algorithm in Algorithm::ALL {
                let combined = algorithm.combine(
                    &algorithm.of(&first),
                    &algorithm.of(&second),
                    u64::try_from(second.len()).unwrap(),
                );
                let expected = algorithm.is_linear().then(|| algorithm.of(&whole));
                prop_assert_eq!(combined, expected, "{}", algorithm.name());
            }
        }
    }
}
