//! Net stakes: what each device still answers with.
//!
//! **An owner's stake is one whole.** Leaves know accounts and not devices, so a withdrawal on any device
//! pays what its owner owes for slashes of all. Were slashes counted by device here, an owner could let one
//! device's withdrawal pay for another's fault, and the first would go on with a stake that is not there.
//! So all stake of an owner on the roster (before slashes, as the inputs name it) is reduced by all that
//! the owner ever lost, and the rest is divided over the devices by their stakes, rounded down. A device
//! that is sold comes without stake, and so without debt: what its seller lost stays the seller's.
//!
//! The inputs' stake of a device is what is bound on it, plus its part of what withdrawals already took
//! from its owner. With `B` bound, `N` taken and `S >= N` lost in all, the devices' net stakes are
//! `bound x (B - (S - N)) / B`: never more than is bound on each, nor together than the owner has left.

use super::SettleError;
use protocol::{Account, Tokens, inputs::Inputs, statement::Statement, units::mul_div};
use std::collections::BTreeMap;

/// The net stakes of the roster's devices, in its order.
pub(super) fn net_stakes(
    inputs: &Inputs,
    previous: &Statement,
) -> Result<Vec<Tokens>, SettleError> {
    let mut owners: BTreeMap<Account, Tokens> = BTreeMap::new();
    for device in &inputs.roster {
        let stake = owners.entry(device.owner).or_default();
        super::add_tokens(stake, device.stake, "the stakes")?;
    }
    let net = |device: &protocol::inputs::Device| {
        let all = owners.get(&device.owner).copied().unwrap_or_default();
        let lost = previous.account(device.owner).map_or(Tokens::ZERO, |state| state.slashed);
        Tokens(mul_div(device.stake.0, all.saturating_sub(lost).0, all.0))
    };
    Ok(inputs.roster.iter().map(net).collect())
}
