//! Net stakes: what each device still answers with.
//!
//! **An owner's stake is one whole.** Leaves know accounts and not devices, so a withdrawal on any device
//! pays what its owner owes for slashes of all. Were slashes counted by device here, an owner could let one
//! device's withdrawal pay for another's fault, and the first would go on with a stake that is not there.
//! So what an owner owes (all that it ever lost, less what withdrawals took) reduces all that is bound on
//! its devices on the roster, and the rest is divided over them by what is bound on each, rounded down:
//! with `B` bound and `D` owed, a device's net stake is `bound x (B - D) / B`. That is never more than is
//! bound on it, nor together more than the owner has left, and all of it when nothing is owed. A device
//! that is sold comes without stake, and so without debt: what its seller owes stays the seller's.

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
        let owed = lost.saturating_sub(device.netted);
        Tokens(mul_div(device.stake.0, all.saturating_sub(owed).0, all.0))
    };
    Ok(inputs.roster.iter().map(net).collect())
}
