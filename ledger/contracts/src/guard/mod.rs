//! Guard: a pause for one function and a limited time, and breakers on outflows (design 8).
//!
//! The guardian may pause one function of one contract for at most the longest pause, and must then
//! leave it open for as long. Redeeming dollars and withdrawing deposits pass a breaker: in one window
//! of blocks no more than a share of what the contract held leaves it.
//!
//! Invariants: announcements, votes, dissent and the claim of settled pay are never paused and pass no breaker;
//! no pause is longer than the longest; what leaves within a window stays within its limit.

mod calls;
pub(crate) mod invariants;
mod state;

#[cfg(test)]
mod tests;

use crate::abi::IGuard::{self, IGuardCalls};
use crate::context::Context;
use crate::dispatch::{decode, empty, returns};
use crate::env::Failure;
pub(crate) use calls::{check, outflow};
pub(crate) use state::{Breaker, Guard};

/// Answers a call.
pub(crate) fn call(cx: &mut Context<'_>, input: &[u8]) -> Result<Vec<u8>, Failure> {
    use IGuardCalls as C;
    let guard = Guard::new();
    Ok(match decode::<C>(input)? {
        C::pause(c) => guard.pause(cx, c.target, c.selector, c.until).map(empty)?,
        C::resume(c) => guard.resume(cx, c.target, c.selector).map(empty)?,
        C::pausedUntil(c) => {
            let until = guard.paused_until(cx, c.target, c.selector)?;
            returns::<IGuard::pausedUntilCall>(&until)
        }
        C::guardian(_) => returns::<IGuard::guardianCall>(&guard.guardian.get(cx)?),
        C::outflow(c) => {
            let (amount, window) = guard.outflow_of(cx, c.target)?;
            returns::<IGuard::outflowCall>(&IGuard::outflowReturn { amount, window })
        }
    })
}
