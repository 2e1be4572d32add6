//! What always holds for stakes.

use super::Stakes;
use crate::address::{self, STAKES};
use crate::context::Context;
use crate::invariants::{Broken, holds};
use crate::networks::Networks;
use crate::tokens::Token;
use alloy_primitives::U256;

/// The tokens held here cover all stake.
pub(crate) fn check(cx: &mut Context<'_>) -> Result<(), Broken> {
    let stakes = Stakes::new();
    for network in Networks::new().all(cx)? {
        let held = Token::at(address::token(network)).balance(cx, STAKES)?;
        let owed = U256::from(stakes.totals.get(cx, network.0)?.held);
        holds!(held >= owed, "network {network}: {owed} staked, {held} held");
    }
    Ok(())
}
