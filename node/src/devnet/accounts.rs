//! The devnet's accounts and device keys: fixed, funded, known to everybody.
//!
//! The accounts are those of the mnemonic that development chains share, so that wallets and scripts
//! find what they expect. **Anyone can spend from them**: [`refuse_outside_devnet`] is asked before
//! any other chain accepts one of them.

use alloy_signer_local::{MnemonicBuilder, PrivateKeySigner};
use anyhow::{Context as _, bail};
use protocol::{Account, key::DeviceSecret};

/// The mnemonic that development chains share.
pub(crate) const MNEMONIC: &str = "test test test test test test test test test test test junk";
/// The devnet's chain id.
pub(crate) const CHAIN_ID: u64 = 0xDE91;

/// A named account.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// Its name in commands.
    pub(crate) name: String,
    /// Its key.
    pub(crate) signer: PrivateKeySigner,
}

/// All accounts of a devnet.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    /// Launched the network; its treasury; runs the validator.
    pub(crate) founder: Named,
    /// Pays for storage.
    pub(crate) customer: Named,
    /// The S3 service's key: signs vouchers and freezes datasets, and owns nothing.
    pub(crate) service: Named,
    /// Own one agent each.
    pub(crate) operators: Vec<Named>,
}

impl Accounts {
    /// Derives the accounts for `agents` operators.
    pub(crate) fn derive(agents: u8) -> anyhow::Result<Self> {
        let mut index = 0u32;
        let mut next = |name: String| -> anyhow::Result<Named> {
            let signer = MnemonicBuilder::<alloy_signer_local::coins_bip39::English>::default()
                .phrase(MNEMONIC)
                .index(index)
                .and_then(|builder| builder.build())
                .context("deriving a devnet account")?;
            index += 1;
            Ok(Named { name, signer })
        };
        Ok(Self {
            founder: next("founder".into())?,
            customer: next("customer".into())?,
            service: next("service".into())?,
            operators: (1..=agents)
                .map(|number| next(format!("operator-{number}")))
                .collect::<anyhow::Result<_>>()?,
        })
    }

    /// All of them, in the order of their derivation.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Named> {
        [&self.founder, &self.customer, &self.service].into_iter().chain(&self.operators)
    }

    /// The account with this name.
    pub(crate) fn by_name(&self, name: &str) -> Option<&Named> {
        self.all().find(|named| named.name == name)
    }
}

impl Named {
    /// The account.
    pub(crate) fn account(&self) -> Account {
        self.signer.address()
    }
}

/// The device key of a devnet agent, numbered from 1.
pub(crate) fn device(number: u8) -> DeviceSecret {
    let seed = blake3::derive_key("wayleave devnet 2026-11 device", &[number]);
    DeviceSecret::from_seed(seed)
}

/// Refuses a key that everybody knows on a chain where it could hold something.
pub(crate) fn refuse_outside_devnet(account: Account, chain_id: u64) -> anyhow::Result<()> {
    if chain_id == CHAIN_ID {
        return Ok(());
    }
    let known = Accounts::derive(32)?;
    if let Some(named) = known.all().find(|named| named.account() == account) {
        bail!(
            "{account} is the devnet's {} and its key is public: make a key with `wayleave key new FILE`",
            named.name
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_those_other_development_chains_fund() {
        let accounts = Accounts::derive(8).unwrap();
        let expected = [
            "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
            "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
            "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
        ];
        for (named, expected) in accounts.all().zip(expected) {
            assert_eq!(named.account().to_string(), expected);
        }
        assert_eq!(accounts.all().count(), 11);
    }

    #[test]
    fn public_keys_are_refused_elsewhere() {
        let founder = Accounts::derive(0).unwrap().founder.account();
        assert!(refuse_outside_devnet(founder, CHAIN_ID).is_ok());
        let refused = refuse_outside_devnet(founder, 1).unwrap_err().to_string();
        assert!(refused.contains("founder"), "{refused}");
        assert!(refuse_outside_devnet(Account::with_last_byte(9), 1).is_ok());
    }
}
