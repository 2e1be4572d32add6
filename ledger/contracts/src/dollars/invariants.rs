//! What always holds for the dollars.

use super::Dollars;
use crate::address::DOLLARS;
use crate::context::Context;
use crate::invariants::{Broken, holds};

/// Every dollar is backed by a stablecoin held here.
pub(crate) fn check(cx: &mut Context<'_>) -> Result<(), Broken> {
    let dollars = Dollars::new();
    let (supply, held) = (dollars.token.supply.get(cx)?, dollars.stable.balance(cx, DOLLARS)?);
    holds!(held >= supply, "dollars: {supply} made, {held} of the stablecoin held");
    Ok(())
}
