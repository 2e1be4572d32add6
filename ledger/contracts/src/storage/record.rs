//! Records: structs of several fields packed into words as Solidity packs them.

use super::Word;
use alloy_primitives::U256;

/// A value of a fixed number of words.
pub(crate) trait Record: Sized {
    const WORDS: usize;

    fn to_words(&self) -> Vec<U256>;

    /// The value in exactly [`Record::WORDS`] words; nothing if a field does not fit its type.
    fn from_words(words: &[U256]) -> Option<Self>;
}

impl<T: Word> Record for T {
    const WORDS: usize = 1;

    fn to_words(&self) -> Vec<U256> {
        vec![self.to_word()]
    }

    fn from_words(words: &[U256]) -> Option<Self> {
        Self::from_word(*words.first()?)
    }
}

/// Packs fields from the low end of a word.
#[derive(Default)]
pub(crate) struct Packer {
    word: U256,
    bits: usize,
}

impl Packer {
    pub(crate) fn push<T: Word>(&mut self, field: &T) {
        self.word |= field.to_word() << self.bits;
        self.bits += T::BITS;
    }

    pub(crate) const fn word(self) -> U256 {
        self.word
    }
}

/// Reads fields from the low end of a word.
pub(crate) struct Unpacker {
    word: U256,
    bits: usize,
}

impl Unpacker {
    pub(crate) const fn new(word: U256) -> Self {
        Self { word, bits: 0 }
    }

    pub(crate) fn pull<T: Word>(&mut self) -> Option<T> {
        let rest = self.word >> self.bits;
        self.bits += T::BITS;
        let mask = U256::MAX >> (256 - T::BITS);
        T::from_word(rest & mask)
    }
}

/// Declares a record: each pair of braces is one word, and holds fields of at most 256 bits.
macro_rules! record {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $({ $($(#[$field_meta:meta])* $field:ident: $ty:ty),+ $(,)? })+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis struct $name {
            $($($(#[$field_meta])* $vis $field: $ty,)+)+
        }

        $(const _: () = assert!(
            0 $(+ <$ty as $crate::storage::Word>::BITS)+ <= 256,
            "the fields do not fit one word"
        );)+

        impl $crate::storage::Record for $name {
            const WORDS: usize = [$([$(stringify!($field)),+].len()),+].len();

            fn to_words(&self) -> Vec<alloy_primitives::U256> {
                vec![$({
                    let mut packer = $crate::storage::Packer::default();
                    $(packer.push(&self.$field);)+
                    packer.word()
                }),+]
            }

            fn from_words(words: &[alloy_primitives::U256]) -> Option<Self> {
                let mut words = words.iter();
                $(
                    let mut unpacker = $crate::storage::Unpacker::new(*words.next()?);
                    $(let $field = unpacker.pull()?;)+
                )+
                Some(Self { $($($field,)+)+ })
            }
        }
    };
}
pub(crate) use record;
