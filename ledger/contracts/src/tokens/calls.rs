//! Balances, allowances and permits.

use super::state::{Kind, Token};
use crate::abi::IToken::{
    Approval, ERC20InsufficientAllowance, ERC20InsufficientBalance, ERC20InvalidReceiver,
    ERC20InvalidSpender, ERC2612ExpiredSignature, ERC2612InvalidSigner, SupplyExceeded, Transfer,
    eip712DomainReturn, permitCall,
};
use crate::context::{Checked as _, Context};
use crate::env::{Failure, ensure};
use crate::signature::recover;
use alloy_primitives::{Address, B256, FixedBytes, U256};
use alloy_sol_types::Eip712Domain;

/// The largest supply: what fits the 128 bits of leaves and checkpoints.
pub(crate) const SUPPLY_MAX: U256 = U256::from_limbs([u64::MAX, u64::MAX, 0, 0]);
/// The version of the signing domain.
const DOMAIN_VERSION: &str = "1";
/// Gas of hashing a domain and a structure.
const TYPED_GAS: u64 = 500;

mod typed {
    //! The typed data that wallets show.
    alloy_sol_types::sol! {
        struct Permit {
            address owner;
            address spender;
            uint256 value;
            uint256 nonce;
            uint256 deadline;
        }
    }
}

impl Token {
    /// Makes this address a token. The callers keep names short and create each token once.
    pub(crate) fn create(
        &self,
        cx: &mut Context<'_>,
        name: &str,
        symbol: &str,
        kind: (u8, bool),
    ) -> Result<(), Failure> {
        let (decimals, votes) = kind;
        self.name.set(cx, name.as_bytes())?;
        self.symbol.set(cx, symbol.as_bytes())?;
        self.kind.set(cx, &Kind { created: true, votes, decimals })?;
        cx.mark(self.address)
    }

    /// How much more of it can be made.
    pub(crate) fn room(&self, cx: &mut Context<'_>) -> Result<U256, Failure> {
        Ok(SUPPLY_MAX.saturating_sub(self.supply.get(cx)?))
    }

    /// The one place where a token is made.
    pub(crate) fn mint(
        &self,
        cx: &mut Context<'_>,
        to: Address,
        amount: U256,
    ) -> Result<(), Failure> {
        ensure!(!to.is_zero(), ERC20InvalidReceiver { receiver: to });
        let supply = self.supply.get(cx)?.plus(amount)?;
        ensure!(supply <= SUPPLY_MAX, SupplyExceeded { supply, limit: SUPPLY_MAX });
        self.supply.set(cx, &supply)?;
        let balance = self.balances.get(cx, to)?.plus(amount)?;
        self.balances.set(cx, to, &balance)?;
        self.record_supply(cx, supply)?;
        self.move_votes(cx, Address::ZERO, to, amount)?;
        cx.emit(self.address, &Transfer { from: Address::ZERO, to, value: amount })
    }

    /// The one place where a token is destroyed.
    pub(crate) fn burn(
        &self,
        cx: &mut Context<'_>,
        from: Address,
        amount: U256,
    ) -> Result<(), Failure> {
        self.take(cx, from, amount)?;
        let supply = self.supply.get(cx)?.minus(amount)?;
        self.supply.set(cx, &supply)?;
        self.record_supply(cx, supply)?;
        self.move_votes(cx, from, Address::ZERO, amount)?;
        cx.emit(self.address, &Transfer { from, to: Address::ZERO, value: amount })
    }

    /// Moves `amount` from one account to another, by whoever has the right to.
    pub(crate) fn transfer(
        &self,
        cx: &mut Context<'_>,
        from: Address,
        to: Address,
        amount: U256,
    ) -> Result<(), Failure> {
        ensure!(!to.is_zero(), ERC20InvalidReceiver { receiver: to });
        self.take(cx, from, amount)?;
        let balance = self.balances.get(cx, to)?.plus(amount)?;
        self.balances.set(cx, to, &balance)?;
        self.move_votes(cx, from, to, amount)?;
        cx.emit(self.address, &Transfer { from, to, value: amount })
    }

    fn take(&self, cx: &mut Context<'_>, from: Address, amount: U256) -> Result<(), Failure> {
        let balance = self.balances.get(cx, from)?;
        let Some(rest) = balance.checked_sub(amount) else {
            let error = ERC20InsufficientBalance { sender: from, balance, needed: amount };
            return Err(error.into());
        };
        self.balances.set(cx, from, &rest)
    }

    pub(crate) fn approve(
        &self,
        cx: &mut Context<'_>,
        owner: Address,
        spender: Address,
        amount: U256,
    ) -> Result<(), Failure> {
        ensure!(!spender.is_zero(), ERC20InvalidSpender { spender });
        self.allowances.set2(cx, owner, spender, &amount)?;
        cx.emit(self.address, &Approval { owner, spender, value: amount })
    }

    /// Uses up an allowance; the largest number is an allowance without end.
    pub(crate) fn spend_allowance(
        &self,
        cx: &mut Context<'_>,
        owner: Address,
        spender: Address,
        amount: U256,
    ) -> Result<(), Failure> {
        let allowance = self.allowances.get2(cx, owner, spender)?;
        if allowance == U256::MAX {
            return Ok(());
        }
        let Some(rest) = allowance.checked_sub(amount) else {
            return Err(ERC20InsufficientAllowance { spender, allowance, needed: amount }.into());
        };
        self.allowances.set2(cx, owner, spender, &rest)
    }

    pub(super) fn permit(&self, cx: &mut Context<'_>, call: &permitCall) -> Result<(), Failure> {
        let permitCall { owner, spender, value, deadline, v, r, s } = *call;
        let expired = U256::from(cx.timestamp()) > deadline;
        ensure!(!expired, ERC2612ExpiredSignature { deadline });
        let nonce = U256::from(self.use_nonce(cx, owner)?);
        let permit = typed::Permit { owner, spender, value, nonce, deadline };
        let digest = self.signing_hash(cx, &permit)?;
        let signer = recover(cx, digest, v, r, s)?.unwrap_or(Address::ZERO);
        ensure!(signer == owner && !owner.is_zero(), ERC2612InvalidSigner { signer, owner });
        self.approve(cx, owner, spender, value)
    }

    /// The nonce of `owner`'s next signature, which it uses up.
    pub(super) fn use_nonce(&self, cx: &mut Context<'_>, owner: Address) -> Result<u64, Failure> {
        let nonce = self.nonces.get(cx, owner)?;
        self.nonces.set(cx, owner, &nonce.plus(1)?)?;
        Ok(nonce)
    }

    /// The domain of this token's signatures: its name, version 1, the chain, its address.
    pub(super) fn domain(&self, cx: &mut Context<'_>) -> Result<Eip712Domain, Failure> {
        cx.charge(TYPED_GAS)?;
        let name = self.name.get_string(cx)?;
        Ok(Eip712Domain::new(
            Some(name.into()),
            Some(DOMAIN_VERSION.into()),
            Some(U256::from(cx.chain_id())),
            Some(self.address),
            None,
        ))
    }

    pub(super) fn domain_fields(
        &self,
        cx: &mut Context<'_>,
    ) -> Result<eip712DomainReturn, Failure> {
        Ok(eip712DomainReturn {
            // Name, version, chain id and contract are used; salt and extensions are not (ERC-5267).
            fields: FixedBytes([0x0f]),
            name: self.name.get_string(cx)?,
            version: DOMAIN_VERSION.to_owned(),
            chainId: U256::from(cx.chain_id()),
            verifyingContract: self.address,
            salt: B256::ZERO,
            extensions: Vec::new(),
        })
    }

    pub(super) fn signing_hash(
        &self,
        cx: &mut Context<'_>,
        message: &impl alloy_sol_types::SolStruct,
    ) -> Result<B256, Failure> {
        cx.charge(TYPED_GAS)?;
        Ok(message.eip712_signing_hash(&self.domain(cx)?))
    }
}
