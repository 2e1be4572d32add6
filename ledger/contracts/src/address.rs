//! Where the system contracts live.
//!
//! All addresses begin with `0x57a1`. The token of network *n* has [`TOKENS_BASE`] with *n* in its last
//! eight bytes, so that an address tells its network and no table is needed.

use alloy_primitives::{Address, address};
use protocol::NetworkId;

/// Dollars of the cash class.
pub const DOLLARS: Address = address!("0x57a1000000000000000000000000000000000001");
/// Networks and their manifests.
pub const NETWORKS: Address = address!("0x57a1000000000000000000000000000000000002");
/// Devices.
pub const DEVICES: Address = address!("0x57a1000000000000000000000000000000000003");
/// Stakes of devices.
pub const STAKES: Address = address!("0x57a1000000000000000000000000000000000004");
/// Rails, and the vault of their deposits.
pub const RAILS: Address = address!("0x57a1000000000000000000000000000000000005");
/// Settlements: clock, votes, roots and claims.
pub const SETTLEMENTS: Address = address!("0x57a1000000000000000000000000000000000006");
/// Pauses and breakers.
pub const GUARD: Address = address!("0x57a1000000000000000000000000000000000007");
/// Validators: bonds, keys and committees.
pub const VALIDATORS: Address = address!("0x57a1000000000000000000000000000000000008");
/// The test stablecoin of a devnet.
pub const STABLECOIN: Address = address!("0x57a1000000000000000000000000000000000010");
/// The address of network tokens, without the network.
pub const TOKENS_BASE: Address = address!("0x57a1000000000000000000010000000000000000");

/// The contracts that are there from the first block, in the order of their addresses.
pub const SINGLETONS: [Address; 9] =
    [DOLLARS, NETWORKS, DEVICES, STAKES, RAILS, SETTLEMENTS, GUARD, VALIDATORS, STABLECOIN];

/// The length of the part of an address that all network tokens share.
const TOKEN_PREFIX: usize = 12;

/// The address of a network's token.
pub fn token(network: NetworkId) -> Address {
    let mut bytes = TOKENS_BASE.into_array();
    bytes[TOKEN_PREFIX..].copy_from_slice(&network.0.to_be_bytes());
    Address::from(bytes)
}

/// The network whose token lives at `address`, if it is a token's address. Network 0 does not exist.
pub fn network_of_token(address: Address) -> Option<NetworkId> {
    let number = address.as_slice().strip_prefix(&TOKENS_BASE.as_slice()[..TOKEN_PREFIX])?;
    let number = u64::from_be_bytes(number.try_into().ok()?);
    (number != 0).then_some(NetworkId(number))
}

/// Whether calls to `address` are answered by a system contract. True for the tokens of networks that
/// do not exist yet: nothing else can ever live there.
pub fn is_system(address: Address) -> bool {
    SINGLETONS.contains(&address) || network_of_token(address).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_address_tells_its_network() {
        for network in [1, 2, 0xffff_ffff, u64::MAX] {
            assert_eq!(network_of_token(token(NetworkId(network))), Some(NetworkId(network)));
            assert!(is_system(token(NetworkId(network))));
        }
        assert_eq!(network_of_token(TOKENS_BASE), None);
        assert!(!is_system(TOKENS_BASE) && !is_system(Address::ZERO));
        assert!(SINGLETONS.iter().all(|address| network_of_token(*address).is_none()));
    }
}
