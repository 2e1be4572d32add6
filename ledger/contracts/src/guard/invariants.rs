//! What always holds for the guard.

use super::Guard;
use crate::context::Context;
use crate::invariants::{Broken, holds};

/// No pause reaches further than the longest pause from now.
pub(crate) fn check(cx: &mut Context<'_>) -> Result<(), Broken> {
    let pauses = Guard::new().pauses.get(cx)?;
    let (latest, most) = (pauses.latest, cx.height().saturating_add(pauses.longest));
    holds!(latest <= most, "guard: a pause until {latest} is longer than allowed ({most})");
    Ok(())
}
