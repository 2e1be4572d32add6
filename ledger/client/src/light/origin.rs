//! The genesis file as a light client reads it: what it trusts to begin with.
//!
//! The parent of a ledger's genesis header is the SHA-256 of its genesis file in canonical form: the
//! members in the order in which the program writes them, without white space (`ledger/consensus`,
//! `genesis`). So a file as it was written, indented or not, names its ledger; one whose members somebody
//! put into another order names none, and is refused when the ledger is met.

use super::{Committee, CommitteeError, Seat};
use alloy_primitives::B256;
use commonware_cryptography::{Hasher as _, Sha256};
use serde::Deserialize;

/// What a genesis file says that light verification needs.
#[derive(Clone, Debug)]
pub struct Origin {
    /// SHA-256 of the file in canonical form.
    pub digest: B256,
    /// EIP-155 id of the ledger.
    pub chain_id: u64,
    /// Blocks of a committee's term.
    pub term_length: u64,
    /// The first committee.
    pub committee: Committee,
}

/// A file that names no ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// The file is no JSON, or lacks something.
    #[error("the genesis file cannot be read: {0}")]
    Json(String),
    /// A term has at least two blocks.
    #[error("a term of {0} blocks: it has at least 2")]
    Term(u64),
    /// The validators are no committee.
    #[error(transparent)]
    Committee(#[from] CommitteeError),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    chain_id: u64,
    term_length: u64,
    validators: Vec<Seat>,
}

impl Origin {
    /// Reads a genesis file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(file: &[u8]) -> Result<Self, OriginError> {
        let File { chain_id, term_length, validators } =
            serde_json::from_slice(file).map_err(|error| OriginError::Json(error.to_string()))?;
        if term_length < 2 {
            return Err(OriginError::Term(term_length));
        }
        Ok(Self {
            digest: B256::from(Sha256::hash(&[&compact(file)]).0),
            chain_id,
            term_length,
            committee: Committee::new(&validators)?,
        })
    }
}

/// JSON without the white space between its tokens.
fn compact(json: &[u8]) -> Vec<u8> {
    let (mut in_text, mut escaped) = (false, false);
    let kept = json.iter().copied().filter(|byte| {
        if in_text {
            let ends = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            in_text = !ends;
            return true;
        }
        in_text = *byte == b'"';
        !byte.is_ascii_whitespace()
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_goes_between_tokens_only() {
        let json = br#" { "a b" : [ 1 , "\" \\" ] ,
            "c" : null } "#;
        assert_eq!(compact(json), br#"{"a b":[1,"\" \\"],"c":null}"#);
    }

    #[test]
    fn what_is_no_genesis_is_refused() {
        assert!(matches!(Origin::read(b"{}"), Err(OriginError::Json(_))));
        let file = br#"{"chainId":1,"termLength":1,"validators":[]}"#;
        assert_eq!(Origin::read(file).unwrap_err(), OriginError::Term(1));
        let file = br#"{"chainId":1,"termLength":9,"validators":[]}"#;
        let empty = OriginError::Committee(CommitteeError::Size(0));
        assert_eq!(Origin::read(file).unwrap_err(), empty);
    }
}
