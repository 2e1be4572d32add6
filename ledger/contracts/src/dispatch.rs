//! From the input bytes of a call to a function of a contract, and back to bytes.

use crate::abi::ISystem::{MalformedArguments, NotDirect, NotPayable, UnknownSelector};
use crate::abi::IToken::NoSuchToken;
use crate::address::{self, is_system};
use crate::context::Context;
use crate::env::{Call, Env, Failure, ensure};
use crate::{devices, dollars, guard, networks, rails, settlements, stakes, tokens, validators};
use alloy_primitives::FixedBytes;
use alloy_sol_types::{SolCall, SolInterface};

/// Gas of any call, before what it reads, writes and hashes.
const CALL_GAS: u64 = 100;
/// Gas of decoding each word of input.
const INPUT_WORD_GAS: u64 = 6;
/// The longest input, in bytes: a call of the most items that any function takes fits.
pub const INPUT_MAX: usize = 128 * 1024;

/// Runs a call of a system contract and returns its ABI-encoded result.
///
/// Undoing what a failed call wrote is the caller's work.
///
/// # Errors
/// [`Failure::Revert`] carries the ABI encoding of an error of [`crate::abi`]; [`Failure::Fault`] passes
/// on what the environment said.
pub fn call(env: &mut dyn Env, call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let mut cx = Context::new(env, call.caller, call.is_static).with_value(call.value);
    cx.charge_words(CALL_GAS, INPUT_WORD_GAS, call.input.len())?;
    ensure!(call.is_direct, NotDirect {});
    let takes_coin = match call.contract {
        address::VALIDATORS => validators::takes_coin(call.input),
        address::SETTLEMENTS => settlements::takes_coin(call.input),
        _ => false,
    };
    ensure!(call.value.is_zero() || takes_coin, NotPayable { value: call.value });
    let selector = selector(call.input)?;
    if !call.is_static {
        guard::check(&mut cx, call.contract, selector)?;
    }
    let (cx, input) = (&mut cx, call.input);
    match call.contract {
        address::DOLLARS => dollars::call(cx, input),
        address::NETWORKS => networks::call(cx, input),
        address::DEVICES => devices::call(cx, input),
        address::STAKES => stakes::call(cx, input),
        address::RAILS => rails::call(cx, input),
        address::SETTLEMENTS => settlements::call(cx, input),
        address::GUARD => guard::call(cx, input),
        address::VALIDATORS => validators::call(cx, input),
        token if is_system(token) => tokens::call(cx, token, input),
        other => Err(NoSuchToken { token: other }.into()),
    }
}

/// The selector of an input.
pub(crate) fn selector(input: &[u8]) -> Result<FixedBytes<4>, Failure> {
    let first = input.first_chunk::<4>().filter(|_| input.len() <= INPUT_MAX);
    first.map(FixedBytes::from).ok_or_else(|| UnknownSelector { selector: FixedBytes::ZERO }.into())
}

/// Whether an input calls a function of `I`.
pub(crate) fn is_for<I: SolInterface>(input: &[u8]) -> bool {
    input.first_chunk::<4>().is_some_and(|selector| I::valid_selector(*selector))
}

/// Decodes an input as a call of `I`, strictly: dirty bytes and bad offsets are refused.
pub(crate) fn decode<I: SolInterface>(input: &[u8]) -> Result<I, Failure> {
    let selector = selector(input)?;
    ensure!(I::valid_selector(selector.0), UnknownSelector { selector });
    I::abi_decode_validate(input).map_err(|_| MalformedArguments { selector }.into())
}

/// Encodes the result of a call.
pub(crate) fn returns<C: SolCall>(value: &C::Return) -> Vec<u8> {
    C::abi_encode_returns(value)
}

/// The result of a function that returns nothing.
pub(crate) const fn empty(_: ()) -> Vec<u8> {
    Vec::new()
}
