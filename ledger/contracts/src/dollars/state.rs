//! The layout of the dollars: that of a token (`tokens/state.rs`), whose balances are the cash class.

use crate::address::{DOLLARS, STABLECOIN};
use crate::tokens::Token;

/// The dollars and what backs them.
pub(crate) struct Dollars {
    /// Cash.
    pub(crate) token: Token,
    /// The stablecoin.
    pub(crate) stable: Token,
}

impl Dollars {
    pub(crate) fn new() -> Self {
        Self { token: Token::at(DOLLARS), stable: Token::at(STABLECOIN) }
    }
}
