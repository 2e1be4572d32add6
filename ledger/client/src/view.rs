//! The ledger in the words of the protocol: rosters, rails, datasets, manifests, roots.
//!
//! Every view is of one height, so that all its parts belong together. Lists are read in batches and
//! sorted by id, as the epoch's inputs file wants them ([`protocol::inputs::Inputs`]).
//!
//! A client that trusts its endpoint with nothing ([`Client::trusting`]) proves every view, at the newest
//! state. There a list's ids are those of one state, at the height asked for or a little later, and each
//! entry is as of that state or a later one; a list has at most [`PROVEN_LIST_MAX`] entries. What was so at
//! a past height has no proofs: the roster, rails and datasets of an epoch are checked by the hash of its
//! inputs file ([`Client::inputs_hash`]), which is proven.

use crate::{
    Client,
    call::{CallError, returned},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolCall;
use contracts::{
    abi::{IDevices, INetworks, IRails, ISettlements, IStakes, IToken, Outcome},
    address,
};
use protocol::{
    Account, DeviceId, Digest, Epoch, Height, KindId, Micros, NetworkId, RailId, Tokens,
    clock::EpochClock,
    inputs::{Dataset, Device, Rail},
    key::DeviceKey,
    manifest::Manifest,
};
use std::{collections::BTreeMap, sync::Arc};

/// How many devices or rails one view may hold: an endpoint is not trusted with our memory. Far more could
/// not be read call by call between two blocks of an epoch anyway.
pub const LIST_MAX: u64 = 1 << 17;

/// How many entries a proven list may have: they are proven by one answer.
pub const PROVEN_LIST_MAX: u64 = 4_000;
/// How often a list that grew or shrank while it was read is read again.
const LIST_ATTEMPTS: usize = 8;

/// Money and work of one account, as contracts hold them now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purse {
    /// Coin, in its smallest unit.
    pub coin: U256,
    /// The network's token.
    pub tokens: Tokens,
    /// Dollars of the cash class, free.
    pub dollars: Micros,
    /// Dollars deposited for rails.
    pub deposited: Micros,
    /// Of these, reserved by open rails.
    pub reserved: Micros,
}

impl Client {
    /// The ledger's clock of epochs.
    ///
    /// # Errors
    /// When the endpoint does not answer as it should; so for all views.
    pub async fn clock(&self) -> Result<EpochClock, CallError> {
        if let Some(clock) = self.cache().clock.get(&()) {
            return Ok(clock);
        }
        let answer = self.call(address::SETTLEMENTS, ISettlements::clockCall {}).await?;
        let clock = EpochClock { length: answer.length, grace: answer.grace };
        if clock.length == 0 {
            return Err(unexpected("the clock has epochs without heights"));
        }
        self.cache().clock.keep((), clock);
        Ok(clock)
    }

    /// The epoch that the newest block is in.
    ///
    /// # Errors
    /// As [`Client::clock`].
    pub async fn current_epoch(&self) -> Result<Epoch, CallError> {
        Ok(self.clock().await?.epoch(self.head().await?))
    }

    /// How many networks there are; they are numbered from 1.
    ///
    /// # Errors
    /// As [`Client::clock`].
    pub async fn networks(&self) -> Result<u64, CallError> {
        self.call(address::NETWORKS, INetworks::countCall {}).await
    }

    /// Founder, treasury, token and names of a network.
    ///
    /// # Errors
    /// As [`Client::clock`], and when there is no such network.
    pub async fn network(&self, network: NetworkId) -> Result<INetworks::NetworkInfo, CallError> {
        self.call(address::NETWORKS, INetworks::networkInfoCall { network: network.0 }).await
    }

    /// The manifest in force in `epoch`. Kept once the epoch has begun, as it can no longer change.
    ///
    /// # Errors
    /// As [`Client::clock`], and when the network has no manifest in that epoch.
    pub async fn manifest(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Arc<Manifest>, CallError> {
        if let Some(manifest) = self.cache().manifests.get(&(epoch, network)) {
            return Ok(manifest);
        }
        let call = INetworks::manifestCall { network: network.0, epoch: epoch.0 };
        let bytes: Bytes = self.call(address::NETWORKS, call).await?;
        let manifest: Manifest = protocol::cbor::from_slice(&bytes)
            .map_err(|error| unexpected(format!("manifest of network {network}: {error}")))?;
        let manifest = Arc::new(manifest);
        if epoch <= self.current_epoch().await? {
            self.cache().manifests.keep((epoch, network), manifest.clone());
        }
        Ok(manifest)
    }

    /// A device's record, in service or retired, on the newest state.
    ///
    /// # Errors
    /// As [`Client::clock`], and when no such device was ever registered.
    pub async fn device(&self, device: DeviceId) -> Result<IDevices::Record, CallError> {
        self.call(address::DEVICES, IDevices::deviceCall { device: device.into() }).await
    }

    /// The devices in service after the block at `height`, ascending by id.
    ///
    /// # Errors
    /// As [`Client::clock`], and when the state of `height` is not kept.
    pub async fn roster(
        &self,
        network: NetworkId,
        height: Height,
    ) -> Result<Vec<Device>, CallError> {
        let ids = self.device_ids(network, height).await?;
        let records: Vec<_> = ids.iter().map(|&device| IDevices::deviceCall { device }).collect();
        let stakes: Vec<_> = ids.iter().map(|&device| IStakes::stakeOfCall { device }).collect();
        let records = self.call_each(address::DEVICES, &records, height).await?;
        let stakes = self.call_each(address::STAKES, &stakes, height).await?;
        let mut owners: Vec<Account> = records.iter().map(|record| record.owner).collect();
        owners.sort_unstable();
        owners.dedup();
        let slashed = |&owner| IStakes::slashedCall { network: network.0, owner };
        let netted: Vec<_> = owners.iter().map(slashed).collect();
        let netted = self.call_each(address::STAKES, &netted, height).await?;
        let netted: BTreeMap<Account, U256> = owners.into_iter().zip(netted).collect();
        let parts = ids.into_iter().zip(records).zip(stakes);
        parts
            .map(|((id, record), stake)| {
                let netted = netted.get(&record.owner).copied().unwrap_or_default();
                device(id.into(), &record, (stake, netted))
            })
            .collect()
    }

    /// Where the agents of the devices in service are dialled, as `host:port`, ascending by id;
    /// devices that announced nothing are left out.
    ///
    /// # Errors
    /// As [`Client::roster`].
    pub async fn endpoints(
        &self,
        network: NetworkId,
        height: Height,
    ) -> Result<Vec<(DeviceId, String)>, CallError> {
        let ids = self.device_ids(network, height).await?;
        let calls: Vec<_> = ids.iter().map(|&device| IDevices::endpointCall { device }).collect();
        let endpoints = self.call_each(address::DEVICES, &calls, height).await?;
        let pairs = ids.into_iter().map(DeviceId::from).zip(endpoints);
        Ok(pairs.filter(|(_, endpoint)| !endpoint.is_empty()).collect())
    }

    /// Where one device's agent is dialled, if it announced that.
    ///
    /// # Errors
    /// As [`Client::device`].
    pub async fn endpoint(&self, device: DeviceId) -> Result<Option<String>, CallError> {
        let call = IDevices::endpointCall { device: device.into() };
        let endpoint: String = self.call(address::DEVICES, call).await?;
        Ok((!endpoint.is_empty()).then_some(endpoint))
    }

    /// The rails not yet released after the block at `height`, ascending by id. Ended ones are among
    /// them: [`protocol::inputs::Inputs::is_live`] tells.
    ///
    /// # Errors
    /// As [`Client::roster`].
    pub async fn rails(&self, network: NetworkId, height: Height) -> Result<Vec<Rail>, CallError> {
        let ids = self.rail_ids(network, height).await?;
        let calls: Vec<_> = ids.iter().map(|&rail| IRails::railCall { rail }).collect();
        let infos = self.call_each(address::RAILS, &calls, height).await?;
        Ok(ids.into_iter().zip(infos).map(|(id, info)| rail(RailId(id), &info)).collect())
    }

    /// One rail on the newest state.
    ///
    /// # Errors
    /// As [`Client::clock`], and when there is no such rail.
    pub async fn rail(&self, id: RailId) -> Result<Rail, CallError> {
        let info = self.call(address::RAILS, IRails::railCall { rail: id.0 }).await?;
        Ok(rail(id, &info))
    }

    /// The frozen datasets of these rails after the block at `height`, ascending by rail; rails whose
    /// dataset was never frozen, or is empty, are left out.
    ///
    /// # Errors
    /// As [`Client::roster`].
    pub async fn datasets(
        &self,
        network: NetworkId,
        height: Height,
    ) -> Result<Vec<Dataset>, CallError> {
        let ids = self.rail_ids(network, height).await?;
        let calls: Vec<_> = ids.iter().map(|&rail| IRails::datasetCall { rail }).collect();
        let infos = self.call_each(address::RAILS, &calls, height).await?;
        let pairs = ids.into_iter().zip(infos);
        Ok(pairs.filter_map(|(id, info)| dataset(RailId(id), &info)).collect())
    }

    /// The hash of an epoch's inputs file, once it is fixed.
    ///
    /// # Errors
    /// As [`Client::clock`].
    pub async fn inputs_hash(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Digest>, CallError> {
        if let Some(digest) = self.cache().inputs.get(&(epoch, network)) {
            return Ok(Some(digest));
        }
        let call = ISettlements::inputsCall { network: network.0, epoch: epoch.0 };
        let word: B256 = self.call(address::SETTLEMENTS, call).await?;
        if word.is_zero() {
            return Ok(None);
        }
        self.cache().inputs.keep((epoch, network), word.into());
        Ok(Some(word.into()))
    }

    /// The newest final epoch of a network, if there is one.
    ///
    /// # Errors
    /// As [`Client::clock`].
    pub async fn final_epoch(&self, network: NetworkId) -> Result<Option<Epoch>, CallError> {
        let call = ISettlements::finalEpochCall { network: network.0 };
        let answer = self.call(address::SETTLEMENTS, call).await?;
        Ok(answer.any.then_some(Epoch(answer.epoch)))
    }

    /// The final epoch on whose statement `epoch` builds: the one before it if it is final itself, else
    /// the newest.
    ///
    /// # Errors
    /// As [`Client::clock`].
    pub async fn final_before(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Epoch>, CallError> {
        let call = ISettlements::finalBeforeCall { network: network.0, epoch: epoch.0 };
        let answer = self.call(address::SETTLEMENTS, call).await?;
        Ok(answer.any.then_some(Epoch(answer.before)))
    }

    /// The epoch that the next vote is for. Earlier ones that are not final are void.
    ///
    /// # Errors
    /// As [`Client::clock`].
    pub async fn next_epoch(&self, network: NetworkId) -> Result<Epoch, CallError> {
        let call = ISettlements::nextEpochCall { network: network.0 };
        Ok(Epoch(self.call(address::SETTLEMENTS, call).await?))
    }

    /// The newest epoch of a network whose leaves can be claimed, if there is one.
    ///
    /// # Errors
    /// As [`Client::clock`].
    pub async fn claimable_epoch(&self, network: NetworkId) -> Result<Option<Epoch>, CallError> {
        let call = ISettlements::claimableEpochCall { network: network.0 };
        let answer = self.call(address::SETTLEMENTS, call).await?;
        Ok(answer.any.then_some(Epoch(answer.epoch)))
    }

    /// The root of an epoch, once it is decided. A network without accounts has none. A dissent may replace
    /// it until it can be claimed.
    ///
    /// # Errors
    /// As [`Client::clock`].
    pub async fn root(&self, network: NetworkId, epoch: Epoch) -> Result<Option<B256>, CallError> {
        let call = ISettlements::rootCall { network: network.0, epoch: epoch.0 };
        let root: B256 = self.call(address::SETTLEMENTS, call).await?;
        Ok(Some(root).filter(|root| !root.is_zero()))
    }

    /// What was decided for an epoch, once it is. A dissent may replace it until it can be claimed.
    ///
    /// # Errors
    /// As [`Client::clock`].
    pub async fn outcome(
        &self,
        network: NetworkId,
        epoch: Epoch,
    ) -> Result<Option<Outcome>, CallError> {
        let call = ISettlements::outcomeCall { network: network.0, epoch: epoch.0 };
        let outcome: Outcome = self.call(address::SETTLEMENTS, call).await?;
        Ok(Some(outcome).filter(|outcome| !outcome.statement.is_zero()))
    }

    /// What an account took by claims so far: tokens and cash.
    ///
    /// # Errors
    /// As [`Client::clock`].
    pub async fn claimed(
        &self,
        network: NetworkId,
        account: Account,
    ) -> Result<(Tokens, Micros), CallError> {
        let call = ISettlements::claimedCall { network: network.0, account };
        let answer = self.call(address::SETTLEMENTS, call).await?;
        Ok((tokens(answer.vested)?, micros(answer.cash)?))
    }

    /// Dollars of a network set aside to buy its token and burn it.
    ///
    /// # Errors
    /// As [`Client::clock`].
    pub async fn to_burn(&self, network: NetworkId) -> Result<Micros, CallError> {
        micros(
            self.call(address::SETTLEMENTS, ISettlements::toBurnCall { network: network.0 })
                .await?,
        )
    }

    /// The stake bound on a device, without what was asked back.
    ///
    /// # Errors
    /// As [`Client::clock`].
    pub async fn stake(&self, device: DeviceId) -> Result<Tokens, CallError> {
        tokens(self.call(address::STAKES, IStakes::stakeOfCall { device: device.into() }).await?)
    }

    /// All that `account` holds in `network`.
    ///
    /// # Errors
    /// As [`Client::clock`].
    pub async fn purse(&self, network: NetworkId, account: Account) -> Result<Purse, CallError> {
        let balance = || IToken::balanceOfCall { account };
        let deposit = self.call(address::RAILS, IRails::depositOfCall { payer: account }).await?;
        Ok(Purse {
            coin: self.balance(account).await?,
            tokens: tokens(self.call(address::token(network), balance()).await?)?,
            dollars: micros(self.call(address::DOLLARS, balance()).await?)?,
            deposited: micros(deposit.deposited)?,
            reserved: micros(deposit.reserved)?,
        })
    }

    /// The ids of the devices in service, ascending.
    async fn device_ids(&self, network: NetworkId, height: Height) -> Result<Vec<B256>, CallError> {
        let network = network.0;
        let count = IDevices::deviceCountCall { network };
        let at = |index| IDevices::deviceAtCall { network, index };
        self.listed((address::DEVICES, height), count, at).await
    }

    /// The numbers of the rails not yet released, ascending.
    async fn rail_ids(&self, network: NetworkId, height: Height) -> Result<Vec<u64>, CallError> {
        let network = network.0;
        let count = IRails::openRailCountCall { network };
        let at = |index| IRails::openRailAtCall { network, index };
        self.listed((address::RAILS, height), count, at).await
    }

    /// The entries of a list, ascending.
    async fn listed<N, A>(
        &self,
        (to, height): (Address, Height),
        count: N,
        at: impl Fn(u64) -> A,
    ) -> Result<Vec<A::Return>, CallError>
    where
        N: SolCall<Return = u64> + Clone,
        A: SolCall<Return: Ord>,
    {
        let length = listable(self.call_at(to, count.clone(), height).await?)?;
        let mut entries = if self.trusted().is_some() {
            Box::pin(self.listed_proven((to, height), (count, length), at)).await?
        } else {
            let calls: Vec<_> = (0..length).map(at).collect();
            self.call_each(to, &calls, height).await?
        };
        entries.sort_unstable();
        distinct(entries)
    }

    /// The entries of a list that has about `length`, all of one proven state.
    async fn listed_proven<N, A>(
        &self,
        (to, height): (Address, Height),
        (count, mut length): (N, u64),
        at: impl Fn(u64) -> A,
    ) -> Result<Vec<A::Return>, CallError>
    where
        N: SolCall<Return = u64>,
        A: SolCall,
    {
        for _ in 0..LIST_ATTEMPTS {
            if length > PROVEN_LIST_MAX {
                return Err(unexpected(format!("a list of {length} entries to be proven")));
            }
            let entries = (0..length).map(|index| at(index).abi_encode());
            let inputs = std::iter::once(count.abi_encode()).chain(entries);
            let views: Vec<_> = inputs.map(|input| (to, Bytes::from(input))).collect();
            // An entry beyond the end reverts, so the length is looked at by itself.
            let mut outputs = self.run_proven(&views, Some(height)).await?.into_iter();
            let now = returned::<N>(&outputs.next().unwrap_or(Ok(Bytes::new()))?)?;
            if now == length {
                return outputs.map(|output| returned::<A>(&output?)).collect();
            }
            length = now;
        }
        Err(unexpected("a list changes faster than it can be read"))
    }
}

fn device(
    id: DeviceId,
    record: &IDevices::Record,
    (stake, netted): (U256, U256),
) -> Result<Device, CallError> {
    let key = DeviceKey::from_parts(record.alg, record.x.0, record.y.0)
        .filter(|key| key.id() == id)
        .ok_or_else(|| unexpected(format!("device {id} is not the thumbprint of its key")))?;
    Ok(Device {
        id,
        key,
        owner: record.owner,
        maker: record.maker,
        kind: KindId(record.kind),
        tier: record.tier,
        cell: record.cell,
        capacity: record.capacity,
        offer: record.offer.into(),
        stake: tokens(stake)?,
        netted: tokens(netted)?,
    })
}

fn rail(id: RailId, info: &IRails::RailInfo) -> Rail {
    Rail {
        id,
        payer: info.payer,
        payee: info.payee,
        signer: info.signer,
        device: info.device.into(),
        limit: Micros(info.limit),
        rate: Micros(info.rate),
        nonce: info.nonce,
        opened: Epoch(info.opened),
        expiry: Epoch(info.end),
        presented: Micros(info.presented),
        // Cash is the one class that exists.
        class: 0,
    }
}

fn dataset(rail: RailId, info: &IRails::DatasetInfo) -> Option<Dataset> {
    (info.version > 0 && info.size > 0).then(|| Dataset {
        rail,
        version: info.version,
        root: info.root.into(),
        bytes: info.size,
    })
}

fn listable(count: u64) -> Result<u64, CallError> {
    if count <= LIST_MAX {
        Ok(count)
    } else {
        Err(unexpected(format!("a list of {count} entries")))
    }
}

/// Refuses a sorted list that names something twice.
fn distinct<T: PartialEq>(sorted: Vec<T>) -> Result<Vec<T>, CallError> {
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(unexpected("a list names an entry twice"));
    }
    Ok(sorted)
}

fn tokens(amount: U256) -> Result<Tokens, CallError> {
    u128::try_from(amount).map(Tokens).map_err(|_| unexpected("tokens above 128 bits"))
}

fn micros(amount: U256) -> Result<Micros, CallError> {
    u64::try_from(amount).map(Micros).map_err(|_| unexpected("dollars above 64 bits"))
}

fn unexpected(message: impl Into<String>) -> CallError {
    CallError::Decode(message.into())
}
