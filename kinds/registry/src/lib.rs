//! The one list of resource kinds.
//!
//! Adding a kind is a crate in `kinds/`, one in `agents/`, perhaps one in `services/`, and a line in
//! [`KINDS`]; the conformance suite, the validator, the command line and the simulator walk this list.
//! Numbers and names are unique, and the list ascends by number.

use protocol::{KindId, kind::Kind};
use storage_kind::Storage;

/// Every kind, ascending by number.
pub const KINDS: &[&'static dyn Kind] = &[&Storage];

/// The kind with this number.
pub fn kind(id: KindId) -> Option<&'static dyn Kind> {
    KINDS.iter().copied().find(|kind| kind.id() == id)
}

/// The kind with this name.
pub fn by_name(name: &str) -> Option<&'static dyn Kind> {
    KINDS.iter().copied().find(|kind| kind.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_number_and_by_name() {
        for known in KINDS {
            assert_eq!(kind(known.id()).map(Kind::name), Some(known.name()));
            assert_eq!(by_name(known.name()).map(Kind::id), Some(known.id()));
        }
        assert!(kind(KindId(0)).is_none(), "0 is for common bodies");
        assert!(by_name("").is_none());
    }

    #[test]
    fn the_list_ascends_by_number_and_repeats_no_name() {
        assert!(KINDS.is_sorted_by(|a, b| a.id() < b.id()));
        for (i, kind) in KINDS.iter().enumerate() {
            assert!(KINDS[..i].iter().all(|earlier| earlier.name() != kind.name()));
        }
    }
}
