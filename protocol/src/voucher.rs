//! Vouchers: a payer's cumulative promise on a rail, as EIP-712 typed data.
//!
//! Rules (design 8): the signature is over (chain, network, rail, nonce, cumulative amount); the rail
//! names who may sign; an amount is cumulative, so only the largest counts and a lost voucher loses
//! nothing; the nonce must not be below the rail's opening nonce, so that vouchers of an earlier life
//! of the same parties are void. Only low-s signatures count (EIP-2).

use crate::{Account, Micros, NetworkId, RailId};
use alloy_primitives::{B256, Signature, U256};
use alloy_sol_types::{Eip712Domain, SolStruct, eip712_domain, sol};
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

mod typed {
    super::sol! {
        /// The typed data that wallets show.
        struct Voucher {
            uint64 network;
            uint64 rail;
            uint64 nonce;
            uint64 amount;
        }
    }
}

/// A cumulative promise on a rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(array)]
pub struct Voucher {
    /// The network of the rail.
    #[n(0)]
    pub network: NetworkId,
    /// The rail.
    #[n(1)]
    pub rail: RailId,
    /// Ascends with every voucher; starts at the rail's opening nonce.
    #[n(2)]
    pub nonce: u64,
    /// All that was promised on this rail so far.
    #[n(3)]
    pub amount: Micros,
}

/// A voucher with its signature (r, s, v) of 65 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SignedVoucher {
    /// The promise.
    #[n(0)]
    pub voucher: Voucher,
    /// The signature over [`Voucher::signing_hash`].
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: [u8; 65],
}

/// The EIP-712 domain of vouchers on a chain: name `Wayleave`, version `1`, the rails contract.
pub fn domain(chain_id: u64, rails: Account) -> Eip712Domain {
    eip712_domain! {
        name: "Wayleave",
        version: "1",
        chain_id: chain_id,
        verifying_contract: rails,
    }
}

impl Voucher {
    /// The hash that the signer signs.
    pub fn signing_hash(&self, domain: &Eip712Domain) -> B256 {
        typed::Voucher {
            network: self.network.0,
            rail: self.rail.0,
            nonce: self.nonce,
            amount: self.amount.0,
        }
        .eip712_signing_hash(domain)
    }
}

impl SignedVoucher {
    /// The account that signed, or nothing if the signature is malformed or in the high-s form.
    pub fn signer(&self, domain: &Eip712Domain) -> Option<Account> {
        recover(&self.signature, self.voucher.signing_hash(domain))
    }
}

/// The account whose signature (r, s, v) over `hash` this is, or nothing if it is malformed or in the
/// high-s form, which EIP-2 forbids.
pub fn recover(signature: &[u8; 65], hash: B256) -> Option<Account> {
    let signature = Signature::from_raw_array(signature).ok()?;
    // secp256k1's half order: EIP-2 forbids s above it.
    let half_order = U256::from_be_bytes(alloy_primitives::hex!(
        "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0"
    ));
    if signature.s() > half_order {
        return None;
    }
    signature.recover_address_from_prehash(&hash).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{address, keccak256};

    const RAILS: Account = address!("0x0000000000000000000000000000000000da0006");

    fn voucher() -> Voucher {
        Voucher { network: NetworkId(1), rail: RailId(2), nonce: 3, amount: Micros(4) }
    }

    #[test]
    fn hash_is_built_as_eip_712_says() {
        // Every step by hand from the EIP, to be independent of the library's macro.
        let word = |n: u64| U256::from(n).to_be_bytes::<32>();
        let domain_type = keccak256(
            "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
        );
        let mut contract = [0; 32];
        contract[12..].copy_from_slice(RAILS.as_slice());
        let separator = keccak256(
            [domain_type.0, keccak256("Wayleave").0, keccak256("1").0, word(57_233), contract]
                .concat(),
        );
        let voucher_type =
            keccak256("Voucher(uint64 network,uint64 rail,uint64 nonce,uint64 amount)");
        let message = keccak256([voucher_type.0, word(1), word(2), word(3), word(4)].concat());
        let expected = keccak256([&[0x19, 0x01][..], &separator.0, &message.0].concat());
        assert_eq!(voucher().signing_hash(&domain(57_233, RAILS)), expected);
    }

    #[test]
    fn signer_is_recovered_and_malleable_forms_are_not() {
        let domain = domain(57_233, RAILS);
        let hash = voucher().signing_hash(&domain);
        let secret =
            alloy_signer_local::PrivateKeySigner::from_bytes(&B256::with_last_byte(1)).unwrap();
        let signature = alloy_signer::SignerSync::sign_hash_sync(&secret, &hash).unwrap();
        let signed = SignedVoucher { voucher: voucher(), signature: signature.as_bytes() };
        assert_eq!(signed.signer(&domain), Some(secret.address()));

        let other = Voucher { amount: Micros(5), ..voucher() };
        let forged = SignedVoucher { voucher: other, ..signed };
        assert_ne!(forged.signer(&domain), Some(secret.address()));
        assert_ne!(signed.signer(&super::domain(1, RAILS)), Some(secret.address()));

        let order = U256::from_be_bytes(alloy_primitives::hex!(
            "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
        ));
        let high = Signature::new(signature.r(), order - signature.s(), !signature.v());
        let malleable = SignedVoucher { voucher: voucher(), signature: high.as_bytes() };
        assert_eq!(malleable.signer(&domain), None);
        let garbage = SignedVoucher { voucher: voucher(), signature: [0xff; 65] };
        assert_eq!(garbage.signer(&domain), None);
    }
}
