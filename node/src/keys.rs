//! The key files of one node of a ledger, and the card by which others know it.
//!
//! A node's folder holds two Ethereum keystores (version 3) under one passphrase: `seat.json` with the one
//! secret of a seat, from which the keys of consensus, network and evidence are derived, and `account.json`
//! with the account that votes on settlements and earns the seat's tips. `card.json` holds what the world
//! may know of both. All three appear whole or not at all and are never overwritten.

use crate::{commands::key, passphrase::Passphrase};
use agent::keystore;
use alloy_primitives::{Address, B256, FixedBytes};
use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context as _, bail};
use consensus::{Committee, REVEAL_BYTES, SEED_KEY_BYTES, Validator, ValidatorKeys};
use protocol::key::DeviceSecret;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{ErrorKind, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The version of cards that this program reads.
const CARD_FORMAT: u32 = 1;
/// A card has some 600 bytes.
const CARD_MAX: u64 = 16 * 1024;

/// What the world may know of a node: enough for a seat in a genesis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Card {
    /// [`CARD_FORMAT`].
    format: u32,
    /// Ed25519 public key (RFC 8032), which votes and names the node.
    pub(crate) key: B256,
    /// BLS12-381 public key, which reveals the seed.
    seed_key: FixedBytes<SEED_KEY_BYTES>,
    /// Proof that the seed key's secret is held.
    possession: FixedBytes<REVEAL_BYTES>,
    /// The account of the seat.
    pub(crate) account: Address,
    /// Where others dial the node (TCP).
    pub(crate) endpoint: SocketAddr,
}

impl Card {
    /// The card of a seat with these keys.
    pub(crate) fn new(keys: &ValidatorKeys, account: Address, endpoint: SocketAddr) -> Self {
        let Validator { key, seed_key, possession, account } = keys.validator(account);
        Self { format: CARD_FORMAT, key, seed_key, possession, account, endpoint }
    }

    /// Reads and checks a card.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let size = fs::metadata(path).with_context(|| format!("reading {name}"))?.len();
        if size > CARD_MAX {
            bail!("{name} is no validator card: it has {size} bytes");
        }
        let bytes = fs::read(path).with_context(|| format!("reading {name}"))?;
        Self::from_bytes(&bytes).with_context(|| format!("{name} cannot be used"))
    }

    /// Decodes and checks a card.
    pub(crate) fn from_bytes(bytes: &[u8]) -> anyhow::Result<Self> {
        let card: Self = serde_json::from_slice(bytes)
            .context("it is no validator card (made by `wayleave init key`)")?;
        if card.format != CARD_FORMAT {
            bail!("it has format {}, this program reads {CARD_FORMAT}", card.format);
        }
        Committee::new(&[card.seat()])?;
        Ok(card)
    }

    /// The seat.
    pub(crate) const fn seat(&self) -> Validator {
        let Self { key, seed_key, possession, account, .. } = *self;
        Validator { key, seed_key, possession, account }
    }

    /// How other nodes are told of this one.
    pub(crate) fn peer(&self) -> String {
        format!("{}@{}", self.key, self.endpoint)
    }
}

/// The key files of a node.
#[derive(Clone, Debug)]
pub(crate) struct KeyFiles {
    folder: PathBuf,
}

impl KeyFiles {
    /// Those in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The secret of the seat.
    pub(crate) fn seat(&self) -> PathBuf {
        self.folder.join("seat.json")
    }

    /// The account.
    pub(crate) fn account(&self) -> PathBuf {
        self.folder.join("account.json")
    }

    /// The public card.
    pub(crate) fn card(&self) -> PathBuf {
        self.folder.join("card.json")
    }

    /// Makes new keys and their card. An account's keystore that is there is kept.
    ///
    /// # Errors
    /// A seat or a card is there already, the passphrase does not open the account, or nothing can be written.
    pub(crate) fn create(
        &self,
        passphrase: &Passphrase,
        endpoint: SocketAddr,
    ) -> anyhow::Result<Card> {
        for file in [self.seat(), self.card()] {
            if file.exists() {
                bail!("{} exists and is not overwritten: choose another --dir", file.display());
            }
        }
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("making {}", self.folder.display()))?;
        let passphrase = passphrase.choose()?;
        let account = if self.account().exists() {
            key::open(&self.account(), &passphrase)?
        } else {
            let account = PrivateKeySigner::random();
            key::seal(&self.account(), &account, &passphrase)?;
            account
        };
        let secret = keystore::create(&self.seat(), &passphrase)?;
        let keys = ValidatorKeys::derive(&secret.seed());
        let card = Card::new(&keys, account.address(), endpoint);
        write_new(&self.card(), &serde_json::to_vec_pretty(&card)?)?;
        Ok(card)
    }

    /// Opens the seat.
    pub(crate) fn open(&self, passphrase: &str) -> anyhow::Result<Seat> {
        let path = self.seat();
        if !path.exists() {
            bail!(
                "no key at {}: make one with `wayleave init key --dir {} --endpoint IP:PORT`",
                path.display(),
                self.folder.display()
            );
        }
        Ok(Seat(keystore::open(&path, passphrase)?))
    }
}

/// The secret of a seat.
pub(crate) struct Seat(DeviceSecret);

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Seat").field(&self.consensus()).finish()
    }
}

impl Seat {
    /// The keys of consensus and of the validators' network.
    pub(crate) fn consensus(&self) -> ValidatorKeys {
        ValidatorKeys::derive(&self.0.seed())
    }

    /// The key by which agents dial the validator's intake over QUIC.
    pub(crate) fn evidence(&self) -> DeviceSecret {
        let context = "wayleave 2026-11 validator evidence key";
        DeviceSecret::from_seed(blake3::derive_key(context, &self.0.seed()))
    }
}

/// Writes a file that must not be there yet.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let name = path.display();
    let mut file = match File::options().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{name} exists and is not overwritten: choose another file")
        }
        file => file.with_context(|| format!("writing {name}"))?,
    };
    let written = file.write_all(bytes).and_then(|()| file.write_all(b"\n"));
    written.and_then(|()| file.sync_all()).with_context(|| format!("writing {name}"))
}

#[cfg(test)]
mod tests;
