//! What a transaction may cost: gas and fees as the endpoint estimates them, within [`crate::Options`].

use crate::{
    Client, Intent, SendError,
    call::CallError,
    rpc::{self, Kind, Request, RpcError},
};
use alloy_primitives::{Address, U64, U256};
use serde_json::{Value, json};

/// Gas that every transaction gets on top of a quarter more than its estimate: other transactions
/// that are applied first may make it dearer.
const GAS_MARGIN: u64 = 25_000;

/// What a transaction may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) gas: u64,
    pub(crate) fee_max: u128,
    pub(crate) tip: u128,
}

impl Client {
    /// Estimates gas and fees on the newest state.
    pub(crate) async fn estimate(&self, from: Address, intent: &Intent) -> Result<Cost, SendError> {
        let call = json!({
            "from": from, "to": intent.to, "value": intent.value, "input": intent.input,
        });
        let requests = [
            Request::new("eth_estimateGas", vec![call]),
            Request::new("eth_gasPrice", vec![]),
            Request::new("eth_maxPriorityFeePerGas", vec![]),
        ];
        let mut answers = self.rpc().batch(&requests).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Ok(Value::Null));
        let (gas, price, tip) = (next(), next(), next());
        let gas: U64 = match gas.map_err(CallError::from) {
            Ok(answer) => rpc::parse("eth_estimateGas", answer)?,
            Err(CallError::Reverted(revert)) => return Err(SendError::Refused(revert)),
            Err(CallError::Rpc(RpcError::Refused { message, kind, .. })) => {
                return Err(rejection(from, message, kind));
            }
            Err(CallError::Rpc(error)) => return Err(error.into()),
            Err(error @ CallError::Decode(_)) => {
                return Err(SendError::Rejected(error.to_string()));
            }
        };
        let price: U256 = rpc::parse("eth_gasPrice", price?)?;
        let tip: U256 = rpc::parse("eth_maxPriorityFeePerGas", tip?)?;
        let gas = gas.to::<u64>().saturating_add(intent.gas);
        self.bounded(gas, price.saturating_to(), tip.saturating_to())
    }

    /// Puts together what the endpoint says, as far as this client offers that.
    fn bounded(&self, gas: u64, price: u128, tip: u128) -> Result<Cost, SendError> {
        let (fee_max, tip_max) = (self.options().fee_max, self.options().tip_max);
        if price > fee_max {
            return Err(SendError::Fee { asked: price, limit: fee_max });
        }
        // Suggested tips follow what others pay: refusing a high one would let anybody stop this sender.
        let tip = tip.min(tip_max);
        Ok(Cost {
            gas: gas.saturating_add(gas / 4).saturating_add(GAS_MARGIN),
            // Room for the base fee to double before the transaction is applied.
            fee_max: price.saturating_mul(2).saturating_add(tip).min(fee_max),
            tip,
        })
    }
}

/// A refusal for good.
pub(crate) fn rejection(account: Address, message: String, kind: Option<Kind>) -> SendError {
    match kind {
        Some(Kind::Funds) => SendError::Funds { account, message },
        _ => SendError::Rejected(message),
    }
}
