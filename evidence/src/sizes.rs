//! How large an envelope may be, by the kind of its body.

use protocol::{KindId, body::COMMON, envelope::ENVELOPE_MAX};
use std::collections::BTreeMap;

/// The kinds known here, each with the size of its largest envelope in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes(BTreeMap<KindId, usize>);

impl Sizes {
    /// The sizes of `kinds`; common bodies have [`ENVELOPE_MAX`].
    pub fn new(kinds: impl IntoIterator<Item = (KindId, usize)>) -> Self {
        Self(kinds.into_iter().chain([(COMMON, ENVELOPE_MAX)]).collect())
    }

    /// The largest envelope of `kind`, if the kind is known.
    pub fn of(&self, kind: KindId) -> Option<usize> {
        self.0.get(&kind).copied()
    }

    /// The largest envelope of any kind.
    pub fn largest(&self) -> usize {
        self.0.values().copied().max().unwrap_or(ENVELOPE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_bodies_are_always_known() {
        let sizes = Sizes::new([(KindId(1), 65_536), (COMMON, 1)]);
        assert_eq!(sizes.of(COMMON), Some(ENVELOPE_MAX));
        assert_eq!(sizes.of(KindId(1)), Some(65_536));
        assert_eq!(sizes.of(KindId(2)), None);
        assert_eq!(sizes.largest(), 65_536);
    }
}
