//! The block a transaction runs in, the limits of a block, and the price of gas.
//!
//! The machine follows Ethereum's Osaka rules. What is ours:
//! * Gas limit of a block: [`BLOCK_GAS_LIMIT`]. The dearest thing a block can do to the node is to
//!   read cold state: 30,000,000 / 2,100 is 14,285 slots, which at some 20 microseconds each (one
//!   suspension and one read of the store) stays under 0.3 s, within the pace of a block.
//! * Code is read in chunks of 72 bytes and Ethereum's gas does not count them, so a block is also
//!   limited to [`BLOCK_LOADS_MAX`] values read: 0.7 s of the same reads.
//! * Base fee: EIP-1559 (elasticity 2, a change of at most 1/8 a block) above a fixed floor,
//!   [`BASE_FEE_FLOOR`], and below a ceiling that no market reaches, [`BASE_FEE_CEILING`], so that no run of
//!   full blocks brings it to a number that cannot be counted on from. It is burned. The tip goes to the
//!   block's beneficiary.

use alloy_eips::eip1559::{BaseFeeParams, calc_next_block_base_fee};
use alloy_evm::EvmEnv;
use alloy_primitives::{Address, B256, U256};
use revm::{
    context::{BlockEnv as MachineBlock, CfgEnv},
    primitives::hardfork::SpecId,
};

/// Gas a block may use. See the module for the reason.
pub const BLOCK_GAS_LIMIT: u64 = 30_000_000;

/// Gas one transaction may ask for (EIP-7825: 2^24).
pub const TX_GAS_LIMIT: u64 = 1 << 24;

/// Values a block's transactions may read from the store, those of transactions that failed by
/// reading too much included: twice what gas allows of slots, and the code of 95 contracts of the
/// greatest size.
pub const BLOCK_LOADS_MAX: u64 = 32_768;

/// Least base fee, in the coin's smallest unit per gas (1 gwei).
pub const BASE_FEE_FLOOR: u64 = 1_000_000_000;

/// Greatest base fee, in the coin's smallest unit per gas: one coin.
pub const BASE_FEE_CEILING: u64 = 1_000_000_000_000_000_000;

/// The rules of the machine.
pub(crate) const SPEC: SpecId = SpecId::OSAKA;

/// What a block tells its transactions. A pure function of the header and its parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockEnv {
    /// Chain the block belongs to (EIP-155).
    pub chain_id: u64,
    /// Height.
    pub number: u64,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Hash of the parent block; kept in state for `BLOCKHASH` (EIP-2935). Zero at height 0.
    pub parent_hash: B256,
    /// Gas the block may use: [`BLOCK_GAS_LIMIT`].
    pub gas_limit: u64,
    /// Fee burned, in the coin's smallest unit per gas.
    pub base_fee: u64,
    /// Who gets the tips.
    pub beneficiary: Address,
    /// The header's randomness mix.
    pub mix: B256,
}

impl BlockEnv {
    /// The machine's environment for a block's own transactions.
    pub(crate) fn machine(&self) -> EvmEnv {
        let cfg = CfgEnv::new_with_spec(SPEC).with_chain_id(self.chain_id);
        let block = MachineBlock {
            number: U256::from(self.number),
            beneficiary: self.beneficiary,
            timestamp: U256::from(self.timestamp),
            gas_limit: self.gas_limit,
            basefee: self.base_fee,
            prevrandao: Some(self.mix),
            ..MachineBlock::default()
        };
        EvmEnv::new(cfg, block)
    }

    /// The machine's environment for calls that are not transactions: no nonce, no fee unless the
    /// caller names one, a contract may be the sender, and the whole block's gas may be used.
    pub(crate) fn machine_for_calls(&self) -> EvmEnv {
        let mut env = self.machine();
        env.cfg_env.disable_nonce_check = true;
        env.cfg_env.disable_base_fee = true;
        env.cfg_env.disable_eip3607 = true;
        env.cfg_env.tx_gas_limit_cap = Some(u64::MAX);
        env
    }
}

/// The base fee of the block after one that had `base_fee` and used `gas_used` of `gas_limit`.
pub fn next_base_fee(base_fee: u64, gas_used: u64, gas_limit: u64) -> u64 {
    let base_fee = base_fee.min(BASE_FEE_CEILING);
    calc_next_block_base_fee(gas_used, gas_limit, base_fee, BaseFeeParams::ethereum())
        .clamp(BASE_FEE_FLOOR, BASE_FEE_CEILING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_fee_moves_by_an_eighth_and_never_below_the_floor() {
        let double = 2 * BASE_FEE_FLOOR;
        assert_eq!(next_base_fee(double, BLOCK_GAS_LIMIT / 2, BLOCK_GAS_LIMIT), double);
        assert_eq!(next_base_fee(double, BLOCK_GAS_LIMIT, BLOCK_GAS_LIMIT), double + double / 8);
        assert_eq!(next_base_fee(double, 0, BLOCK_GAS_LIMIT), double - double / 8);
        assert_eq!(next_base_fee(BASE_FEE_FLOOR, 0, BLOCK_GAS_LIMIT), BASE_FEE_FLOOR);
    }

    #[test]
    fn blocks_that_are_full_for_ever_end_at_the_ceiling() {
        let full = |fee| next_base_fee(fee, BLOCK_GAS_LIMIT, BLOCK_GAS_LIMIT);
        let fee = (0..400).fold(BASE_FEE_FLOOR, |fee, _| full(fee));
        assert_eq!(fee, BASE_FEE_CEILING);
        assert_eq!(next_base_fee(fee, 0, BLOCK_GAS_LIMIT), fee - fee / 8);
        assert_eq!(full(u64::MAX), BASE_FEE_CEILING);
    }
}
