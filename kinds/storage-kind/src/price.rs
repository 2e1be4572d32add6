//! Who may serve and for how much: the manifest's terms applied to bytes.

use crate::STORAGE;
use protocol::{
    Micros, Reason,
    kind::{Admission, Offer, Usage},
    manifest::Manifest,
};

/// Whether an offer is admitted, and the stake it needs: the base and so much for each unit offered.
///
/// # Errors
/// [`Reason::NotAdmitted`] if the network has no storage or nothing is offered.
pub fn admit(offer: &Offer, manifest: &Manifest) -> Result<Admission, Reason> {
    let terms = manifest.terms(STORAGE).ok_or(Reason::NotAdmitted)?;
    if offer.capacity == 0 {
        return Err(Reason::NotAdmitted);
    }
    Ok(Admission { stake: terms.stake(offer.capacity) })
}

/// What bytes are worth, kept for an epoch or delivered; rounded down, nothing without terms.
pub fn price(usage: &Usage, manifest: &Manifest) -> Micros {
    manifest.terms(STORAGE).map_or(Micros::ZERO, |terms| match *usage {
        Usage::Provided(bytes) => terms.dollars(bytes, terms.price),
        Usage::Delivered(bytes) => terms.dollars(bytes, terms.delivery_price),
    })
}

#[cfg(test)]
mod tests;
