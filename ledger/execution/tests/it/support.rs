//! A chain in memory, signers, and a little assembler.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope, TxLegacy};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use execution::{
    BASE_FEE_FLOOR, BLOCK_GAS_LIMIT, BlockEnv, BlockOutcome, Call, CallError, CallResult,
    ExecuteError, Genesis, Key, MemoryStore, Patience, Proposal, Recovered, Store, StoreError,
    Value, account_at, code_writes, execute_block, genesis, propose_block, slot_at,
};
use std::{
    future::Future,
    pin::pin,
    sync::Mutex,
    task::{Context, Poll, Waker},
};

pub(crate) const CHAIN: u64 = 0xDE91;
pub(crate) const BENEFICIARY: Address = Address::repeat_byte(0xbe);
pub(crate) const GWEI: u128 = 1_000_000_000;
/// Price and tip of the transactions made here.
pub(crate) const MAX_FEE: u128 = 10 * GWEI;
pub(crate) const TIP: u128 = GWEI;

pub(crate) fn coins(n: u64) -> U256 {
    U256::from(n) * U256::from(10).pow(U256::from(18))
}

/// Polls a future to its end.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        let poll = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(output) = poll {
            return output;
        }
    }
}

/// A store that lets the caller wait for every key, and remembers what it was asked.
#[derive(Default)]
pub(crate) struct Slow {
    pub(crate) base: MemoryStore,
    pub(crate) asked: Mutex<Vec<Key>>,
}

impl Store for Slow {
    async fn get(&self, key: &Key) -> Result<Option<Value>, StoreError> {
        let mut waits = usize::from(key.hash()[0] % 4);
        std::future::poll_fn(|_| {
            waits = waits.saturating_sub(1);
            if waits > 0 { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        self.asked.lock().unwrap().push(*key);
        Ok(self.base.0.get(key).copied())
    }
}

pub(crate) struct User {
    signer: PrivateKeySigner,
    pub(crate) nonce: u64,
}

impl User {
    pub(crate) fn new(seed: u8) -> Self {
        let signer = PrivateKeySigner::from_bytes(&B256::repeat_byte(seed)).unwrap();
        Self { signer, nonce: 0 }
    }

    pub(crate) fn address(&self) -> Address {
        self.signer.address()
    }

    pub(crate) fn sign(
        &self,
        tx: impl SignableTransaction<Signature> + Into<TxEnvelopeParts>,
    ) -> Recovered<TxEnvelope> {
        let signature = self.signer.sign_hash_sync(&tx.signature_hash()).unwrap();
        Recovered::new_unchecked(tx.into().sign(signature), self.address())
    }

    pub(crate) fn sign_hash(&self, hash: B256) -> Signature {
        self.signer.sign_hash_sync(&hash).unwrap()
    }

    /// A 1559 transaction with the next nonce.
    pub(crate) fn send(
        &mut self,
        to: TxKind,
        value: U256,
        gas: u64,
        data: impl Into<Bytes>,
    ) -> Recovered<TxEnvelope> {
        let tx = self.sign(TxEip1559 {
            chain_id: CHAIN,
            nonce: self.nonce,
            gas_limit: gas,
            max_fee_per_gas: MAX_FEE,
            max_priority_fee_per_gas: TIP,
            to,
            value,
            input: data.into(),
            ..TxEip1559::default()
        });
        self.nonce += 1;
        tx
    }

    pub(crate) fn pay(&mut self, to: Address, value: U256) -> Recovered<TxEnvelope> {
        self.send(TxKind::Call(to), value, 21_000, Bytes::new())
    }

    pub(crate) fn call(
        &mut self,
        to: Address,
        gas: u64,
        data: impl Into<Bytes>,
    ) -> Recovered<TxEnvelope> {
        self.send(TxKind::Call(to), U256::ZERO, gas, data)
    }

    /// The contract that this user's next transaction would create.
    pub(crate) fn next_contract(&self) -> Address {
        self.address().create(self.nonce)
    }
}

/// An unsigned transaction of one of the types used here.
pub(crate) enum TxEnvelopeParts {
    Legacy(TxLegacy),
    Eip1559(TxEip1559),
    Eip7702(alloy_consensus::TxEip7702),
    Eip2930(alloy_consensus::TxEip2930),
}

impl TxEnvelopeParts {
    fn sign(self, signature: Signature) -> TxEnvelope {
        match self {
            Self::Legacy(tx) => tx.into_signed(signature).into(),
            Self::Eip1559(tx) => tx.into_signed(signature).into(),
            Self::Eip7702(tx) => tx.into_signed(signature).into(),
            Self::Eip2930(tx) => tx.into_signed(signature).into(),
        }
    }
}

impl From<TxLegacy> for TxEnvelopeParts {
    fn from(tx: TxLegacy) -> Self {
        Self::Legacy(tx)
    }
}

impl From<TxEip1559> for TxEnvelopeParts {
    fn from(tx: TxEip1559) -> Self {
        Self::Eip1559(tx)
    }
}

impl From<alloy_consensus::TxEip7702> for TxEnvelopeParts {
    fn from(tx: alloy_consensus::TxEip7702) -> Self {
        Self::Eip7702(tx)
    }
}

impl From<alloy_consensus::TxEip2930> for TxEnvelopeParts {
    fn from(tx: alloy_consensus::TxEip2930) -> Self {
        Self::Eip2930(tx)
    }
}

/// A chain that keeps every block's undo.
#[derive(Default)]
pub(crate) struct Chain {
    pub(crate) store: MemoryStore,
    pub(crate) height: u64,
}

impl Chain {
    /// Users 1 to 4 have 1,000 coins each.
    pub(crate) fn new() -> Self {
        let coins = (1..=4).map(|seed| (User::new(seed).address(), coins(1_000))).collect();
        let config = Genesis { coins, ..Genesis::default() };
        Self { store: MemoryStore(genesis(&config)), height: 0 }
    }

    /// The block after the present one.
    pub(crate) fn env(&self) -> BlockEnv {
        let number = self.height + 1;
        BlockEnv {
            chain_id: CHAIN,
            number,
            timestamp: 1_800_000_000 + number,
            parent_hash: block_hash(self.height),
            gas_limit: BLOCK_GAS_LIMIT,
            base_fee: BASE_FEE_FLOOR,
            beneficiary: BENEFICIARY,
            mix: B256::repeat_byte(0x5e),
        }
    }

    pub(crate) fn try_run(
        &self,
        txs: &[Recovered<TxEnvelope>],
    ) -> Result<BlockOutcome, ExecuteError> {
        block_on(execute_block(&self.store, &self.env(), txs))
    }

    pub(crate) fn propose(&self, txs: &[Recovered<TxEnvelope>]) -> Proposal {
        block_on(propose_block(&self.store, &self.env(), txs, Patience::ENDLESS)).unwrap()
    }

    /// Executes a block and applies it.
    pub(crate) fn run(&mut self, txs: &[Recovered<TxEnvelope>]) -> BlockOutcome {
        let outcome = self.try_run(txs).unwrap();
        self.store.apply(&outcome.writes);
        self.height += 1;
        outcome
    }

    pub(crate) fn call(&self, call: &Call) -> Result<CallResult, CallError> {
        block_on(execution::call(&self.store, &self.env(), call, Patience::ENDLESS))
    }

    pub(crate) fn estimate(&self, call: &Call) -> Result<u64, CallError> {
        block_on(execution::estimate(&self.store, &self.env(), call, Patience::ENDLESS))
    }

    /// Puts a contract into the state, as if it had always been there.
    pub(crate) fn install(&mut self, address: Address, code: &[u8]) {
        let code_hash = keccak256(code);
        let account = execution::Account { nonce: 1, code_hash, balance: U256::ZERO };
        self.store.0.insert(Key::Account(address), account.encode());
        self.store.0.extend(code_writes(code_hash, code).unwrap());
    }

    pub(crate) fn balance(&self, address: Address) -> U256 {
        block_on(account_at(&self.store, address)).unwrap().balance
    }

    pub(crate) fn nonce(&self, address: Address) -> u64 {
        block_on(account_at(&self.store, address)).unwrap().nonce
    }

    pub(crate) fn slot(&self, address: Address, index: u64) -> U256 {
        block_on(slot_at(&self.store, address, U256::from(index))).unwrap()
    }
}

pub(crate) fn block_hash(height: u64) -> B256 {
    keccak256(height.to_be_bytes())
}

/// Opcodes used by the tests.
pub(crate) mod op {
    pub(crate) const STOP: u8 = 0x00;
    pub(crate) const CALLDATALOAD: u8 = 0x35;
    pub(crate) const CALLDATASIZE: u8 = 0x36;
    pub(crate) const CALLDATACOPY: u8 = 0x37;
    pub(crate) const CODECOPY: u8 = 0x39;
    pub(crate) const RETURNDATASIZE: u8 = 0x3d;
    pub(crate) const RETURNDATACOPY: u8 = 0x3e;
    pub(crate) const EXTCODESIZE: u8 = 0x3b;
    pub(crate) const BLOCKHASH: u8 = 0x40;
    pub(crate) const POP: u8 = 0x50;
    pub(crate) const MSTORE: u8 = 0x52;
    pub(crate) const SLOAD: u8 = 0x54;
    pub(crate) const SSTORE: u8 = 0x55;
    pub(crate) const JUMP: u8 = 0x56;
    pub(crate) const JUMPI: u8 = 0x57;
    pub(crate) const GAS: u8 = 0x5a;
    pub(crate) const JUMPDEST: u8 = 0x5b;
    pub(crate) const LOG1: u8 = 0xa1;
    pub(crate) const CALL: u8 = 0xf1;
    pub(crate) const RETURN: u8 = 0xf3;
    pub(crate) const DELEGATECALL: u8 = 0xf4;
    pub(crate) const STATICCALL: u8 = 0xfa;
    pub(crate) const CALLCODE: u8 = 0xf2;
    pub(crate) const REVERT: u8 = 0xfd;
    pub(crate) const SELFDESTRUCT: u8 = 0xff;
    pub(crate) const DUP1: u8 = 0x80;
    pub(crate) const SUB: u8 = 0x03;
    pub(crate) const SWAP1: u8 = 0x90;
    pub(crate) const CALLER: u8 = 0x33;
}

/// Bytecode under construction.
#[derive(Clone, Default)]
pub(crate) struct Asm(pub(crate) Vec<u8>);

impl Asm {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn op(mut self, ops: &[u8]) -> Self {
        self.0.extend_from_slice(ops);
        self
    }

    /// Pushes a number with four bytes, so that lengths are easy to reckon.
    pub(crate) fn push(mut self, n: u32) -> Self {
        self.0.push(0x63);
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    pub(crate) fn push_address(mut self, address: Address) -> Self {
        self.0.push(0x73);
        self.0.extend_from_slice(address.as_slice());
        self
    }

    /// Calls `to` with all the calldata; leaves success on the stack.
    pub(crate) fn forward(self, opcode: u8, to: Address) -> Self {
        let asm = self.op(&[op::CALLDATASIZE]).push(0).push(0).op(&[op::CALLDATACOPY]);
        let asm = asm.push(0).push(0).op(&[op::CALLDATASIZE]).push(0);
        let asm = if matches!(opcode, op::CALL | op::CALLCODE) { asm.push(0) } else { asm };
        asm.push_address(to).op(&[op::GAS, opcode])
    }

    /// Returns what the last call returned.
    pub(crate) fn return_data(self, opcode: u8) -> Self {
        self.op(&[op::RETURNDATASIZE])
            .push(0)
            .push(0)
            .op(&[op::RETURNDATACOPY, op::RETURNDATASIZE])
            .push(0)
            .op(&[opcode])
    }

    /// Returns the word on top of the stack.
    pub(crate) fn return_word(self) -> Self {
        self.push(0).op(&[op::MSTORE]).push(32).push(0).op(&[op::RETURN])
    }

    /// Creation code for this code.
    pub(crate) fn deploy(&self) -> Vec<u8> {
        let size = u32::try_from(self.0.len()).unwrap();
        // push4 push4 push4 codecopy push4 push4 return: 27 bytes.
        let head = Self::new().push(size).push(27).push(0).op(&[op::CODECOPY]).push(size).push(0);
        [head.op(&[op::RETURN]).0, self.0.clone()].concat()
    }
}

pub(crate) fn word(n: u64) -> Bytes {
    U256::from(n).to_be_bytes_vec().into()
}
