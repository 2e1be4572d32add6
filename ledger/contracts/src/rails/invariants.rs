//! What always holds for rails.

use super::state::Rails;
use crate::address::RAILS;
use crate::context::Context;
use crate::dollars::Dollars;
use crate::invariants::{Broken, holds};
use crate::networks::Networks;
use crate::settlements::Settlements;
use alloy_primitives::{Address, U256};
use std::collections::{BTreeMap, BTreeSet};

/// Limits, accounts, purses, backing and the dollars held here agree.
pub(crate) fn check(cx: &mut Context<'_>, accounts: &BTreeSet<Address>) -> Result<(), Broken> {
    let rails = Rails::new();
    let open = open_limits(cx, &rails)?;
    let networks: Vec<u64> = Networks::new().all(cx)?.map(|network| network.0).collect();
    let (mut deposits, mut claimed) = (U256::ZERO, U256::ZERO);
    let mut backing: BTreeMap<u64, u128> = BTreeMap::new();
    for payer in accounts {
        let mut charged = 0;
        for &network in &networks {
            let account = rails.accounts.get2(cx, *payer, network)?;
            let limits = open.get(&(*payer, network)).copied().unwrap_or_default();
            holds!(account.open == limits, "{payer}: rails of {limits}, {} open", account.open);
            charged += account.charge()?;
            *backing.entry(network).or_default() += account.charge()?;
        }
        let purse = rails.purses.get(cx, *payer)?;
        holds!(purse.reserved == charged, "{payer}: {} reserved of {charged}", purse.reserved);
        let (deposited, reserved) = (purse.deposited, purse.reserved);
        holds!(deposited >= reserved, "{payer}: {reserved} reserved of {deposited}");
        deposits += U256::from(deposited);
    }
    for network in networks {
        let stored = rails.backing.get(cx, network)?;
        let sum = backing.get(&network).copied().unwrap_or_default();
        holds!(stored == sum, "network {network}: backing {stored}, accounts {sum}");
        let spent = Settlements::new().spent(cx, network.into())?;
        holds!(spent <= stored, "network {network}: {spent} spent of {stored}");
        claimed += U256::from(Settlements::new().claimed(cx, network.into())?.cash);
    }
    let held = Dollars::new().token.balance(cx, RAILS)?;
    let owed = deposits.saturating_sub(claimed);
    holds!(deposits >= claimed && held >= owed, "{held} held, {deposits} less {claimed} owed");
    Ok(())
}

/// The sums of limits of rails not released, by payer and network; the lists of rails agree.
fn open_limits(
    cx: &mut Context<'_>,
    rails: &Rails,
) -> Result<BTreeMap<(Address, u64), u128>, Broken> {
    let mut open: BTreeMap<(Address, u64), u128> = BTreeMap::new();
    let mut live = BTreeMap::<u64, u64>::new();
    for id in 1..=rails.count.get(cx)? {
        let rail = rails.find(cx, id)?;
        holds!(rail.presented <= rail.limit, "rail {id}: voucher above its limit");
        if rail.released {
            continue;
        }
        let listed = rails.live_at(cx, rail.network.into(), rail.index)?;
        holds!(listed == id, "rail {id} is not in its place");
        *live.entry(rail.network).or_default() += 1;
        if !rail.late {
            *open.entry((rail.payer, rail.network)).or_default() += u128::from(rail.limit);
        }
    }
    for (network, count) in live {
        let length = rails.live.at_key(cx, network)?.len(cx)?;
        holds!(length == count, "network {network}: {length} rails listed, {count} open");
    }
    Ok(open)
}
