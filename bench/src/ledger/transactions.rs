//! The transactions of all loads, signed before anything is measured.

use super::BATCH;
use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, Bytes, TxKind, U256, hex};
use alloy_signer::SignerSync as _;
use alloy_signer_local::{MnemonicBuilder, PrivateKeySigner, coins_bip39::English};
use alloy_sol_types::{SolCall as _, SolValue as _, sol};
use anyhow::{Context as _, ensure};
use contracts::address::STABLECOIN;
use std::{fmt, path::Path, thread};

/// The chain of all.
pub(super) const CHAIN: u64 = 71_424;
/// What anvil derives its accounts from.
const MNEMONIC: &str = "test test test test test test test test test test test junk";
/// Accounts that send.
pub(super) const SENDERS: usize = 64;
/// More than any block asks for, however long blocks were full.
const FEE: u128 = 100_000_000_000_000_000_000;
/// What every account has, in coins: enough to promise that fee for all that waits.
pub(super) const COINS: u64 = 1_000_000_000_000_000;

sol! {
    function transfer(address to, uint256 amount) returns (bool);
}

/// What a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// Sends coins.
    Coin,
    /// Calls `transfer` of OpenZeppelin's ERC-20, in bytecode.
    Token,
    /// Calls `transfer` of the test stablecoin, a system contract.
    System,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coin => "transfers of coins",
            Self::Token => "transfers of an ERC-20 in bytecode (OpenZeppelin 4.9)",
            Self::System => "transfers of a system contract's token",
        })
    }
}

/// Signed transactions.
#[derive(Debug)]
pub(super) struct Workload {
    /// Deploys the token and gives every sender some: in order, by one account.
    pub(super) setup: Vec<Vec<u8>>,
    /// By sender, and by load in the order of [`LOADS`].
    signed: Vec<[Vec<Vec<u8>>; LOADS.len()]>,
}

/// All loads, in the order in which they must be sent: their nonces follow one another.
pub(super) const LOADS: [Load; 3] = [Load::Coin, Load::Token, Load::System];

impl Workload {
    /// Signs `count` transactions of each load. `creation` is the code that deploys the token.
    pub(super) fn sign(count: usize, creation: &[u8]) -> anyhow::Result<Self> {
        let people = people()?;
        let (deployer, senders) = people.split_last().context("there are accounts")?;
        let token = deployer.address().create(0);
        let mut setup = vec![deployment(deployer, creation)?];
        for (nonce, sender) in (1u64..).zip(senders) {
            let amount = U256::from(10).pow(U256::from(20));
            let input = transferCall { to: sender.address(), amount }.abi_encode();
            setup.push(call(deployer, nonce, (TxKind::Call(token), 0), input)?);
        }
        let each = u64::try_from(count / SENDERS)?;
        // To sign takes longer than anything that is measured: all cores do it.
        let part = senders.len().div_ceil(thread::available_parallelism()?.get());
        let signed = thread::scope(|scope| {
            let sign = |part: &[PrivateKeySigner]| {
                part.iter().map(|sender| all_loads(sender, each, token)).collect::<Vec<_>>()
            };
            let threads: Vec<_> =
                senders.chunks(part).map(|part| scope.spawn(move || sign(part))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        });
        let signed: anyhow::Result<Vec<_>> = signed;
        let signed = signed?;
        ensure!(signed.len() == senders.len(), "a thread that signs failed");
        Ok(Self { setup, signed })
    }

    /// How many transactions a load has.
    pub(super) fn count(&self, load: Load) -> usize {
        self.of(load).iter().map(|txs| txs.len()).sum()
    }

    /// Requests of [`BATCH`] transactions for `connections`: a sender's stay on one, in order.
    pub(super) fn requests(&self, load: Load, connections: usize) -> Vec<Vec<bytes::Bytes>> {
        let senders = self.of(load);
        let mut all = Vec::new();
        for first in 0..connections {
            let mine: Vec<_> = senders.iter().skip(first).step_by(connections).collect();
            let rounds = mine.iter().map(|txs| txs.len()).max().unwrap_or(0);
            let txs: Vec<_> = (0..rounds)
                .flat_map(|round| mine.iter().filter_map(move |txs| txs.get(round)))
                .collect();
            all.push(
                txs.chunks(BATCH).map(|txs| batch(txs.iter().map(|tx| tx.as_slice()))).collect(),
            );
        }
        all
    }

    /// The transactions of each sender.
    fn of(&self, load: Load) -> Vec<&[Vec<u8>]> {
        let place = LOADS.iter().position(|one| *one == load).unwrap_or(0);
        self.signed.iter().map(|loads| loads[place].as_slice()).collect()
    }
}

/// What a sender sends, `each` of every load.
fn all_loads(
    sender: &PrivateKeySigner,
    each: u64,
    token: Address,
) -> anyhow::Result<[Vec<Vec<u8>>; LOADS.len()]> {
    let mut signed = [const { Vec::new() }; LOADS.len()];
    for ((place, load), first) in
        LOADS.into_iter().enumerate().zip((0u64..).step_by(usize::try_from(each)?))
    {
        let txs = (first..first + each).map(|nonce| one(sender, nonce, load, token));
        signed[place] = txs.collect::<anyhow::Result<_>>()?;
    }
    Ok(signed)
}

/// The JSON of a batch of `eth_sendRawTransaction`.
pub(super) fn batch<'a>(txs: impl Iterator<Item = &'a [u8]>) -> bytes::Bytes {
    let calls = txs.enumerate().map(|(id, tx)| {
        let raw = hex::encode_prefixed(tx);
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"eth_sendRawTransaction","params":["{raw}"]}}"#
        )
    });
    format!("[{}]", calls.collect::<Vec<_>>().join(",")).into()
}

/// The senders, and last the account that deploys.
pub(super) fn people() -> anyhow::Result<Vec<PrivateKeySigner>> {
    (0..=u32::try_from(SENDERS)?)
        .map(|index| {
            let builder = MnemonicBuilder::<English>::default().phrase(MNEMONIC).index(index)?;
            Ok(builder.build()?)
        })
        .collect()
}

fn deployment(deployer: &PrivateKeySigner, creation: &[u8]) -> anyhow::Result<Vec<u8>> {
    let supply = U256::from(10).pow(U256::from(24));
    let arguments =
        ("Bench".to_owned(), "BENCH".to_owned(), supply, deployer.address()).abi_encode_params();
    call(deployer, 0, (TxKind::Create, 0), [creation, &arguments].concat())
}

fn one(
    sender: &PrivateKeySigner,
    nonce: u64,
    load: Load,
    token: Address,
) -> anyhow::Result<Vec<u8>> {
    // Everybody has somebody of their own to send to, as in life.
    let to = sender.address().create(u64::MAX);
    let input = transferCall { to, amount: U256::from(1) }.abi_encode();
    match load {
        Load::Coin => call(sender, nonce, (TxKind::Call(to), 1), Vec::new()),
        Load::Token => call(sender, nonce, (TxKind::Call(token), 0), input),
        Load::System => call(sender, nonce, (TxKind::Call(STABLECOIN), 0), input),
    }
}

fn call(
    signer: &PrivateKeySigner,
    nonce: u64,
    (to, value): (TxKind, u64),
    input: Vec<u8>,
) -> anyhow::Result<Vec<u8>> {
    let gas_limit = if to.is_create() {
        3_000_000
    } else if input.is_empty() {
        21_000
    } else {
        80_000
    };
    signed(signer, Call { nonce, to, value, gas_limit, input })
}

/// What a transaction says for itself.
pub(super) struct Call {
    pub(super) nonce: u64,
    pub(super) to: TxKind,
    pub(super) value: u64,
    pub(super) gas_limit: u64,
    pub(super) input: Vec<u8>,
}

/// A signed transaction.
pub(super) fn signed(signer: &PrivateKeySigner, call: Call) -> anyhow::Result<Vec<u8>> {
    let tx = TxEip1559 {
        chain_id: CHAIN,
        nonce: call.nonce,
        gas_limit: call.gas_limit,
        max_fee_per_gas: FEE,
        max_priority_fee_per_gas: 1_000_000_000,
        to: call.to,
        value: U256::from(call.value),
        input: Bytes::from(call.input),
        ..TxEip1559::default()
    };
    let signature = signer.sign_hash_sync(&tx.signature_hash())?;
    Ok(tx.into_signed(signature).encoded_2718())
}

/// The creation code of OpenZeppelin's `ERC20PresetFixedSupply`, from its npm package.
pub(super) fn creation_code(artifact: &Path) -> anyhow::Result<Vec<u8>> {
    let text = std::fs::read_to_string(artifact)
        .with_context(|| format!("cannot read {}", artifact.display()))?;
    let artifact: serde_json::Value = serde_json::from_str(&text)?;
    let code = artifact["bytecode"].as_str().context("the artifact has no bytecode")?;
    Ok(hex::decode(code)?)
}
