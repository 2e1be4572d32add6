//! Our validators: several in one process on loopback, with their real network and disks.

use super::{
    PACE,
    transactions::{CHAIN, COINS, people},
};
use crate::up::free_port;
use alloy_primitives::{Address, U256};
use anyhow::Context as _;
use consensus::{Config, Founding, Genesis, Ledger, Peer, Running, ValidatorKeys, start};
use contracts::{GenesisConfig, SeatRules};
use protocol::{Micros, Ppm, clock::EpochClock};
use rpc::{Limits, Server, serve};
use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Running validators; the first one answers JSON-RPC.
#[derive(Debug)]
pub(super) struct Cluster {
    validators: Vec<Running>,
    server: Server,
    port: u16,
}

impl Cluster {
    /// Starts `count` validators with folders below `disk`.
    pub(super) async fn start(disk: &Path, count: u8) -> anyhow::Result<Self> {
        let genesis = genesis(count)?;
        let peers: Vec<Peer> = (0..count)
            .map(|n| Ok(Peer { key: keys(n).network_key(), address: address(free_port()?) }))
            .collect::<anyhow::Result<_>>()?;
        let mut validators = Vec::new();
        for (n, me) in (0..count).zip(&peers) {
            let data = disk.join(format!("{count}-validators/{n}"));
            let config = Config {
                peers: peers.iter().filter(|peer| *peer != me).copied().collect(),
                pace: PACE,
                ..Config::new(data, me.address, keys(n), genesis.clone())
            };
            validators.push(start(config).await?);
        }
        let port = free_port()?;
        let first = validators.first().context("there is a validator")?;
        let server = serve(first.ledger.clone(), address(port), Limits::default()).await?;
        Ok(Self { validators, server, port })
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    fn ledger(&self) -> &Ledger {
        &self.validators[0].ledger
    }

    /// How long `blocks` blocks took to be final, in milliseconds each.
    pub(super) async fn finality(&self, blocks: usize) -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::new();
        let mut head = self.ledger().subscribe();
        while times.len() < blocks {
            let block = head.next().await?.context("the ledger stopped")?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            let then = Duration::from_millis(block.header.timestamp_ms);
            times.push(now.saturating_sub(then).as_secs_f64() * 1_000.0);
        }
        Ok(times)
    }

    /// Stops all of them.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.server.stop().await;
        for validator in self.validators {
            validator.stop().await?;
        }
        Ok(())
    }
}

fn keys(n: u8) -> ValidatorKeys {
    ValidatorKeys::derive(&[n; 32])
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn genesis(validators: u8) -> anyhow::Result<Genesis> {
    let people: Vec<Address> = people()?.iter().map(|signer| signer.address()).collect();
    let coins = U256::from(COINS) * U256::from(10).pow(U256::from(18));
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(Genesis::found(Founding {
        chain_id: CHAIN,
        timestamp_ms: u64::try_from(now.as_millis())?,
        term_length: 1_000_000,
        validators: (0..validators)
            .map(|n| keys(n).validator(Address::repeat_byte(n + 1)).into())
            .collect(),
        allocations: people.iter().map(|account| (*account, coins)).collect(),
        contracts: GenesisConfig {
            clock: EpochClock { length: 1_000, grace: 10 },
            dispute_epochs: 2,
            validators: Vec::new(),
            seats: SeatRules::default(),
            guardian: Address::repeat_byte(0xB0),
            pause_blocks_max: 10,
            breaker_window: 20,
            breaker_share: Ppm::ONE,
            breaker_floor: Micros(0),
            stablecoin: people.iter().map(|account| (*account, Micros(1_000_000_000))).collect(),
            networks: Vec::new(),
        },
    })?)
}
