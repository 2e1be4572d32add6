//! A ledger in a temporary folder with its JSON-RPC, to try tools against until Ctrl-C.
//!
//! `cargo run -p rpc --example devnet [port]`. The account of the secret key `0x01…01` (32 times) has
//! 1,000 coins and 1,000 test dollars.

#![expect(clippy::print_stdout, reason = "it tells the address")]

use alloy_primitives::{Address, B256, U256};
use alloy_signer_local::PrivateKeySigner;
use consensus::{Config, Founding, Genesis, ValidatorKeys};
use contracts::{GenesisConfig, SeatRules};
use protocol::{Micros, Ppm, clock::EpochClock};
use std::{error::Error, net::SocketAddr};

fn founding(user: Address, keys: &ValidatorKeys) -> Founding {
    Founding {
        chain_id: 0xDE91,
        timestamp_ms: 1_790_000_000_000,
        term_length: 1_000_000,
        validators: vec![keys.validator(Address::repeat_byte(0xbe)).into()],
        allocations: [(user, U256::from(10).pow(U256::from(21)))].into(),
        contracts: GenesisConfig {
            clock: EpochClock { length: 30, grace: 4 },
            dispute_epochs: 1,
            validators: vec![],
            seats: SeatRules::default(),
            guardian: user,
            pause_blocks_max: 1_000,
            breaker_window: 100,
            breaker_share: Ppm(100_000),
            breaker_floor: Micros(1_000_000_000),
            stablecoin: vec![(user, Micros(1_000_000_000))],
            networks: vec![],
        },
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).map_or(Ok(8545), |port| port.parse())?;
    let user = PrivateKeySigner::from_bytes(&B256::repeat_byte(1))?.address();
    let folder = tempfile::tempdir()?;
    let keys = ValidatorKeys::derive(&[7; 32]);
    let genesis = Genesis::found(founding(user, &keys))?;
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config::new(folder.path().to_owned(), anywhere, keys, genesis);
    let running = consensus::start(config).await?;
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let server = rpc::serve(running.ledger.clone(), addr, rpc::Limits::default()).await?;
    println!("http://{} chain id {} account {user}", server.addr(), running.ledger.chain_id());
    tokio::signal::ctrl_c().await?;
    server.stop().await;
    running.stop().await?;
    Ok(())
}
