//! Joining a network with a device: registration, stake, endpoint. Every step looks first whether it
//! is done, so that it can be run again at any time, and says what it needs when it cannot go on.

use crate::out;
use alloy_primitives::U256;
use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context as _, bail};
use client::{Client, Intent};
use contracts::{
    abi::{IDevices, IStakes, IToken},
    address,
};
use protocol::{
    KindId, NetworkId, Tokens,
    key::{DeviceKey, SIGNATURE_LENGTH, registration_message},
    kind::Offer,
};

/// A device that joins.
#[derive(Clone, Debug)]
pub(crate) struct Joining<'a> {
    /// The network.
    pub(crate) network: NetworkId,
    /// The kind.
    pub(crate) kind: KindId,
    /// The device's key.
    pub(crate) key: DeviceKey,
    /// What it offers, in the kind's unit.
    pub(crate) capacity: u64,
    /// Who owns it and pays gas and stake.
    pub(crate) owner: &'a PrivateKeySigner,
}

impl Joining<'_> {
    /// Registers and stakes. `sign` signs with the device's key.
    ///
    /// # Errors
    /// What is missing, as the next thing to do.
    pub(crate) async fn enroll(
        &self,
        ledger: &Client,
        sign: impl Fn(&[u8]) -> [u8; SIGNATURE_LENGTH],
    ) -> anyhow::Result<()> {
        let owner = self.owner.address();
        let purse = ledger.purse(self.network, owner).await?;
        if purse.coin.is_zero() {
            bail!("next: send some coin to {owner} to pay for transactions, then run this again");
        }
        let record = ledger.device(self.key.id()).await.ok().filter(|record| record.network != 0);
        match record {
            Some(record) if record.owner != owner => bail!(
                "device {} belongs to {}: give the keystore of that account with --owner-key",
                self.key.id(),
                record.owner
            ),
            Some(_) => out::line(format!("device {} is registered", self.key.id())),
            None => self.register(ledger, sign).await?,
        }
        self.stake(ledger, purse.tokens).await
    }

    async fn register(
        &self,
        ledger: &Client,
        sign: impl Fn(&[u8]) -> [u8; SIGNATURE_LENGTH],
    ) -> anyhow::Result<()> {
        let message = registration_message(ledger.chain_id(), self.network, self.owner.address());
        let call = IDevices::registerCall {
            network: self.network.0,
            kind: self.kind.0,
            alg: self.key.algorithm(),
            x: self.key.x().into(),
            y: self.key.y().into(),
            capacity: self.capacity,
            cell: 0,
            offer: Vec::new().into(),
            proof: sign(&message).to_vec().into(),
        };
        let receipt = ledger.send(self.owner, address::DEVICES, &call).await?;
        out::line(format!("registered device {} in block {}", self.key.id(), receipt.height));
        Ok(())
    }

    async fn stake(&self, ledger: &Client, tokens: Tokens) -> anyhow::Result<()> {
        let id = self.key.id();
        let epoch = ledger.current_epoch().await?;
        let manifest = ledger.manifest(self.network, epoch).await?;
        let kind = registry::kind(self.kind).context("this program does not know the kind")?;
        let offer = Offer { capacity: self.capacity, tier: 2, cell: 0 };
        let needed = kind
            .admit(&offer, &manifest)
            .map_err(|reason| {
                anyhow::anyhow!("the network does not admit this device: {}", reason.text())
            })?
            .stake;
        let staked = ledger.stake(id).await?;
        let missing = needed.saturating_sub(staked);
        if missing.is_zero() {
            out::line(format!("stake of {staked} tokens is in place"));
            return Ok(());
        }
        if tokens < missing {
            bail!(
                "next: have somebody who has tokens of network {network} run `wayleave send {} {} --tokens {network} --key-file …` (any wallet does: they are at {}), then run this again; the stake for this capacity is {needed}",
                self.owner.address(),
                missing.saturating_sub(tokens),
                address::token(self.network),
                network = self.network,
            );
        }
        let amount = U256::from(missing.0);
        let approve = IToken::approveCall { spender: address::STAKES, value: amount };
        let stake = IStakes::stakeCall { device: id.into(), amount };
        let intents = vec![
            Intent::call(address::token(self.network), &approve),
            Intent::call(address::STAKES, &stake),
        ];
        for result in ledger.send_many(self.owner, intents).await {
            result?;
        }
        out::line(format!("staked {missing} tokens"));
        Ok(())
    }

    /// Announces where the agent is dialled, if the ledger says otherwise. Whether it did.
    pub(crate) async fn announce(&self, ledger: &Client, endpoint: &str) -> anyhow::Result<bool> {
        let id = self.key.id();
        if ledger.endpoint(id).await?.as_deref() == Some(endpoint) {
            return Ok(false);
        }
        let call = IDevices::setEndpointCall { device: id.into(), endpoint: endpoint.to_owned() };
        ledger.send(self.owner, address::DEVICES, &call).await?;
        Ok(true)
    }
}
