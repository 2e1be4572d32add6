//! Tokens: one code at many addresses.
//!
//! The same ERC-20 with permit serves every network's token, the dollars and the test stablecoin; a
//! network's token also counts votes by checkpoint. Which it is follows from its address.
//!
//! Invariants: the supply is the sum of balances and fits 128 bits; votes of a delegate are the sum of
//! the balances delegated to it; a token is minted in one place ([`Token::mint`]) and destroyed in one
//! ([`Token::burn`]).

mod calls;
pub(crate) mod invariants;
mod state;
mod votes;

#[cfg(test)]
mod tests;

use crate::abi::ISystem::UnknownSelector;
use crate::abi::IToken::{self, ITokenCalls, NoSuchToken};
use crate::abi::IVotes::{self, IVotesCalls};
use crate::context::Context;
use crate::dispatch::{decode, empty, is_for, returns, selector};
use crate::env::{Failure, ensure};
use alloy_primitives::{Address, U256};
pub(crate) use state::Token;

/// Answers a call of the token at `address`.
pub(crate) fn call(
    cx: &mut Context<'_>,
    address: Address,
    input: &[u8],
) -> Result<Vec<u8>, Failure> {
    let token = Token::at(address);
    ensure!(token.exists(cx)?, NoSuchToken { token: address });
    if is_for::<IVotesCalls>(input) {
        let kind = token.kind(cx)?;
        ensure!(kind.votes, UnknownSelector { selector: selector(input)? });
        return call_votes(cx, &token, input);
    }
    call_token(cx, &token, input)
}

/// Answers a call of `IToken`.
pub(crate) fn call_token(
    cx: &mut Context<'_>,
    token: &Token,
    input: &[u8],
) -> Result<Vec<u8>, Failure> {
    use ITokenCalls as C;
    let caller = cx.caller();
    Ok(match decode::<C>(input)? {
        C::name(_) => returns::<IToken::nameCall>(&token.name.get_string(cx)?),
        C::symbol(_) => returns::<IToken::symbolCall>(&token.symbol.get_string(cx)?),
        C::decimals(_) => returns::<IToken::decimalsCall>(&token.kind(cx)?.decimals),
        C::totalSupply(_) => returns::<IToken::totalSupplyCall>(&token.supply.get(cx)?),
        C::balanceOf(c) => returns::<IToken::balanceOfCall>(&token.balances.get(cx, c.account)?),
        C::allowance(c) => {
            returns::<IToken::allowanceCall>(&token.allowances.get2(cx, c.owner, c.spender)?)
        }
        C::transfer(c) => {
            token.transfer(cx, caller, c.to, c.value)?;
            returns::<IToken::transferCall>(&true)
        }
        C::approve(c) => {
            token.approve(cx, caller, c.spender, c.value)?;
            returns::<IToken::approveCall>(&true)
        }
        C::transferFrom(c) => {
            token.spend_allowance(cx, c.from, caller, c.value)?;
            token.transfer(cx, c.from, c.to, c.value)?;
            returns::<IToken::transferFromCall>(&true)
        }
        C::permit(c) => token.permit(cx, &c).map(empty)?,
        C::nonces(c) => returns::<IToken::noncesCall>(&U256::from(token.nonces.get(cx, c.owner)?)),
        C::DOMAIN_SEPARATOR(_) => {
            returns::<IToken::DOMAIN_SEPARATORCall>(&token.domain(cx)?.separator())
        }
        C::eip712Domain(_) => returns::<IToken::eip712DomainCall>(&token.domain_fields(cx)?),
    })
}

fn call_votes(cx: &mut Context<'_>, token: &Token, input: &[u8]) -> Result<Vec<u8>, Failure> {
    use IVotesCalls as C;
    let caller = cx.caller();
    Ok(match decode::<C>(input)? {
        C::delegate(c) => token.delegate(cx, caller, c.delegatee).map(empty)?,
        C::delegateBySig(c) => token.delegate_by_sig(cx, &c).map(empty)?,
        C::delegates(c) => returns::<IVotes::delegatesCall>(&token.delegates.get(cx, c.account)?),
        C::getVotes(c) => returns::<IVotes::getVotesCall>(&token.votes(cx, c.account)?),
        C::getPastVotes(c) => {
            returns::<IVotes::getPastVotesCall>(&token.past_votes(cx, c.account, c.timepoint)?)
        }
        C::getPastTotalSupply(c) => {
            returns::<IVotes::getPastTotalSupplyCall>(&token.past_supply(cx, c.timepoint)?)
        }
        C::clock(_) => returns::<IVotes::clockCall>(&votes::clock(cx)),
        C::CLOCK_MODE(_) => returns::<IVotes::CLOCK_MODECall>(&votes::CLOCK_MODE.to_owned()),
    })
}
