//! Founding networks and amending their manifests.

use super::state::{Network, Networks, VersionRecord};
use crate::abi::INetworks::{
    ActivationTooEarly, Amended, Created, FounderChanged, InvalidManifest, NetworkInfo, NoManifest,
    NoSuchNetwork, NotFounder, TreasuryChanged, UnbondingTooShort, Version, createCall,
};
use crate::abi::ISystem::{Empty, TooMany};
use crate::address::{self, NETWORKS};
use crate::context::{Checked as _, Context};
use crate::env::{Failure, ensure};
use crate::settlements::Settlements;
use crate::tokens::Token;
use alloy_primitives::{Address, B256, U256};
use protocol::manifest::{MANIFEST_MAX, Manifest};
use protocol::{Digest, Epoch, NetworkId, cbor};

/// How many epochs ahead a version must be announced.
pub(crate) const NOTICE_EPOCHS: u64 = 2;
/// The longest name of a token, in bytes.
const NAME_MAX: usize = 64;
/// The longest symbol of a token, in bytes.
const SYMBOL_MAX: usize = 16;
/// How many versions one network's manifest may have.
const VERSIONS_MAX: u64 = 10_000;
/// The decimals of every network's token.
const DECIMALS: u8 = 18;
/// Gas of checking each word of a manifest.
const MANIFEST_WORD_GAS: u64 = 30;

/// What a network begins with.
pub(crate) struct Founding<'a> {
    pub(crate) founder: Address,
    pub(crate) manifest: &'a [u8],
    pub(crate) name: &'a str,
    pub(crate) symbol: &'a str,
    pub(crate) supply: U256,
    /// The first epoch of the manifest.
    pub(crate) start: Epoch,
}

impl Networks {
    pub(super) fn create(
        &self,
        cx: &mut Context<'_>,
        call: &createCall,
    ) -> Result<NetworkId, Failure> {
        let start = Epoch(cx.epoch()?.0.plus(NOTICE_EPOCHS)?);
        self.found(
            cx,
            &Founding {
                founder: cx.caller(),
                manifest: &call.manifest,
                name: &call.name,
                symbol: &call.symbol,
                supply: call.supply,
                start,
            },
        )
    }

    /// Founds a network, by a call or at genesis.
    pub(crate) fn found(
        &self,
        cx: &mut Context<'_>,
        founding: &Founding<'_>,
    ) -> Result<NetworkId, Failure> {
        let Founding { founder, start, .. } = *founding;
        for (text, limit) in [(founding.name, NAME_MAX), (founding.symbol, SYMBOL_MAX)] {
            ensure!(!text.is_empty(), Empty {});
            let error = TooMany { count: U256::from(text.len()), limit: U256::from(limit) };
            ensure!(text.len() <= limit, error);
        }
        let network = NetworkId(self.count.get(cx)?.plus(1)?);
        self.count.set(cx, &network.0)?;
        let created = cx.epoch()?.0;
        let record = Network { founder, created, treasury: founder, start: start.0 };
        self.records.set(cx, network.0, &record)?;
        let (_, digest) = self.add_version(cx, network, start, founding.manifest)?;
        let token = Token::at(address::token(network));
        token.create(cx, founding.name, founding.symbol, (DECIMALS, true))?;
        if !founding.supply.is_zero() {
            token.mint(cx, founder, founding.supply)?;
        }
        let event = Created { network: network.0, founder, token: token.address, digest };
        cx.emit(NETWORKS, &event)?;
        Ok(network)
    }

    pub(super) fn amend(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        activation: Option<Epoch>,
        manifest: &[u8],
    ) -> Result<u64, Failure> {
        self.founded_by_caller(cx, network)?;
        let last = self.versions.at_key(cx, network.0)?.last(cx)?;
        let after_last = last.map_or(0, |version| version.activation).plus(1)?;
        let earliest = cx.epoch()?.0.plus(NOTICE_EPOCHS)?.max(after_last);
        let activation = activation.unwrap_or(Epoch(earliest));
        let error = ActivationTooEarly { activation: activation.0, earliest };
        ensure!(activation.0 >= earliest, error);
        let (version, digest) = self.add_version(cx, network, activation, manifest)?;
        let event = Amended { network: network.0, version, activation: activation.0, digest };
        cx.emit(NETWORKS, &event)?;
        Ok(version)
    }

    /// Checks and stores a manifest; the callers keep activations ascending.
    fn add_version(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        activation: Epoch,
        bytes: &[u8],
    ) -> Result<(u64, B256), Failure> {
        let error = TooMany { count: U256::from(bytes.len()), limit: U256::from(MANIFEST_MAX) };
        ensure!(bytes.len() <= MANIFEST_MAX, error);
        let manifest = decode(cx, bytes)?;
        manifest.validate().map_err(|error| InvalidManifest { reason: error.to_string() })?;
        let dispute = Settlements::new().clock(cx)?.dispute;
        let unbonding = u64::from(manifest.evidence.unbonding_epochs);
        ensure!(unbonding > dispute, UnbondingTooShort { unbonding, dispute });
        let digest = B256::from(Digest::of(bytes));
        let versions = self.versions.at_key(cx, network.0)?;
        let version = versions.push(cx, &VersionRecord { activation: activation.0, digest })?;
        let error = TooMany { count: U256::from(version), limit: U256::from(VERSIONS_MAX) };
        ensure!(version < VERSIONS_MAX, error);
        self.manifests.at_key(cx, network.0)?.at_key(cx, version)?.set(cx, bytes)?;
        Ok((version, digest))
    }

    pub(super) fn set_founder(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        founder: Address,
    ) -> Result<(), Failure> {
        ensure!(!founder.is_zero(), Empty {});
        let record = self.founded_by_caller(cx, network)?;
        let (from, to) = (record.founder, founder);
        self.records.set(cx, network.0, &Network { founder, ..record })?;
        cx.emit(NETWORKS, &FounderChanged { network: network.0, from, to })
    }

    pub(super) fn set_treasury(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        treasury: Address,
    ) -> Result<(), Failure> {
        ensure!(!treasury.is_zero(), Empty {});
        let record = self.founded_by_caller(cx, network)?;
        let (from, to) = (record.treasury, treasury);
        self.records.set(cx, network.0, &Network { treasury, ..record })?;
        cx.emit(NETWORKS, &TreasuryChanged { network: network.0, from, to })
    }

    /// The network, or a revert if there is none.
    pub(crate) fn record(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
    ) -> Result<Network, Failure> {
        let record = self.records.get(cx, network.0)?;
        ensure!(!record.founder.is_zero(), NoSuchNetwork { network: network.0 });
        Ok(record)
    }

    fn founded_by_caller(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
    ) -> Result<Network, Failure> {
        let (record, caller) = (self.record(cx, network)?, cx.caller());
        ensure!(record.founder == caller, NotFounder { network: network.0, caller });
        Ok(record)
    }

    /// All networks, ascending.
    pub(crate) fn all(
        &self,
        cx: &mut Context<'_>,
    ) -> Result<impl Iterator<Item = NetworkId> + use<>, Failure> {
        Ok((1..=self.count.get(cx)?).map(NetworkId))
    }

    /// The manifest that holds in `epoch`.
    pub(crate) fn manifest(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Manifest, Failure> {
        let bytes = self.manifest_bytes(cx, network, epoch)?;
        decode(cx, &bytes)
    }

    /// The manifest that holds now, or the first one if the network has not started.
    pub(crate) fn current_manifest(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
    ) -> Result<Manifest, Failure> {
        let start = self.record(cx, network)?.start;
        let epoch = cx.epoch()?.0.max(start);
        self.manifest(cx, network, Epoch(epoch))
    }

    pub(super) fn manifest_bytes(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Vec<u8>, Failure> {
        self.record(cx, network)?;
        let versions = self.versions.at_key(cx, network.0)?;
        let (mut low, mut high) = (0, versions.len(cx)?);
        while low < high {
            let middle = low + (high - low) / 2;
            match versions.get(cx, middle)? {
                Some(version) if version.activation <= epoch.0 => low = middle + 1,
                _ => high = middle,
            }
        }
        let Some(index) = low.checked_sub(1) else {
            return Err(NoManifest { network: network.0, epoch: epoch.0 }.into());
        };
        self.manifests.at_key(cx, network.0)?.at_key(cx, index)?.get(cx)
    }

    pub(super) fn version(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
        index: u64,
    ) -> Result<Version, Failure> {
        self.record(cx, network)?;
        let versions = self.versions.at_key(cx, network.0)?;
        let Some(version) = versions.get(cx, index)? else {
            return Err(NoManifest { network: network.0, epoch: index }.into());
        };
        Ok(Version { activation: version.activation, digest: version.digest })
    }

    pub(super) fn info(
        &self,
        cx: &mut Context<'_>,
        network: NetworkId,
    ) -> Result<NetworkInfo, Failure> {
        let record = self.record(cx, network)?;
        let token = Token::at(address::token(network));
        Ok(NetworkInfo {
            founder: record.founder,
            treasury: record.treasury,
            token: token.address,
            created: record.created,
            start: record.start,
            versions: self.versions.at_key(cx, network.0)?.len(cx)?,
            name: token.name.get_string(cx)?,
            symbol: token.symbol.get_string(cx)?,
        })
    }
}

/// Decodes a manifest from its canonical bytes.
pub(super) fn decode(cx: &mut Context<'_>, bytes: &[u8]) -> Result<Manifest, Failure> {
    cx.charge_words(0, MANIFEST_WORD_GAS, bytes.len())?;
    cbor::from_slice(bytes).map_err(|error| InvalidManifest { reason: error.to_string() }.into())
}
