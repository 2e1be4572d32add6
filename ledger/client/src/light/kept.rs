//! What a light client has seen, kept for its next start: committees, and the newest header.
//!
//! The bytes are JSON and prove nothing: whoever can write the file decides what is trusted, as with the
//! genesis file. From somebody trusted it is a newer place to begin at than the genesis.

use super::{Committee, Light, LightError, OFFICES_MAX, Origin, Seat, Seen};
use alloy_primitives::B256;
use protocol::Height;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The version written and read.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    version: u32,
    /// Digest of the genesis file.
    file: B256,
    /// Hash of the genesis header.
    genesis: B256,
    committees: Vec<Office>,
    newest: Option<Newest>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Office {
    /// The first term.
    term: u64,
    seats: Vec<Seat>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Newest {
    height: u64,
    hash: B256,
    time_ms: u64,
}

fn wrong(why: impl ToString) -> LightError {
    LightError::Kept(why.to_string())
}

impl Light {
    /// What to keep for the next start.
    pub fn to_bytes(&self) -> Vec<u8> {
        let offices = self.offices.iter();
        let kept = Kept {
            version: VERSION,
            file: self.file,
            genesis: self.genesis,
            committees: offices
                .map(|(term, committee)| Office { term: *term, seats: committee.seats().to_vec() })
                .collect(),
            newest: self.newest.map(|Seen { height, hash, time_ms }| Newest {
                height: height.0,
                hash,
                time_ms,
            }),
        };
        // Numbers, texts and lists: nothing that JSON could refuse.
        serde_json::to_vec(&kept).expect("what is kept has a JSON form")
    }

    /// Goes on from what was kept of the ledger that `origin` names.
    ///
    /// # Errors
    /// [`LightError::Kept`] when the bytes are malformed, or of another ledger.
    pub fn resume(origin: &Origin, bytes: &[u8]) -> Result<Self, LightError> {
        let kept: Kept = serde_json::from_slice(bytes).map_err(wrong)?;
        if kept.version != VERSION {
            return Err(wrong("it is of another version"));
        }
        if kept.file != origin.digest {
            return Err(wrong("it is of another ledger"));
        }
        if kept.committees.is_empty() || kept.committees.len() > OFFICES_MAX {
            return Err(wrong("it has too few or too many committees"));
        }
        let offices = kept.committees.into_iter().map(|office| {
            let committee = Committee::new(&office.seats).map_err(wrong)?;
            Ok((office.term, Arc::new(committee)))
        });
        Ok(Self {
            file: origin.digest,
            chain_id: origin.chain_id,
            term_length: origin.term_length.max(1),
            genesis: kept.genesis,
            offices: offices.collect::<Result<BTreeMap<_, _>, LightError>>()?,
            newest: kept.newest.map(|Newest { height, hash, time_ms }| Seen {
                height: Height(height),
                hash,
                time_ms,
            }),
        })
    }
}
