//! Our validators: several in one process on loopback, with their real network and disks.

use super::{
    PACE, POOL,
    transactions::{CHAIN, COINS, people},
};
use crate::up::free_port;
use alloy_primitives::{Address, U256};
use anyhow::Context as _;
use consensus::{
    Config, Finalized, Founding, Genesis, Ledger, Peer, Running, Subscription, ValidatorKeys, start,
};
use contracts::{GenesisConfig, SeatRules};
use protocol::{Micros, Ppm, clock::EpochClock};
use rpc::{Limits, Server, serve};
use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::runtime::{Builder, Runtime};

/// Threads of JSON-RPC: as many as the client has.
const RPC_THREADS: usize = 2;

/// Running validators; the first one answers JSON-RPC.
#[derive(Debug)]
pub(super) struct Cluster {
    validators: Vec<Running>,
    server: Server,
    port: u16,
    /// What JSON-RPC runs on, apart from the client.
    _runtime: Apart,
}

/// A runtime that may end inside another.
#[derive(Debug)]
struct Apart(Option<Runtime>);

impl Drop for Apart {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
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
                limits: POOL,
                ..Config::new(data, me.address, keys(n), genesis.clone())
            };
            validators.push(start(config).await?);
        }
        let port = free_port()?;
        let ledger = validators.first().context("there is a validator")?.ledger.clone();
        let runtime = Builder::new_multi_thread()
            .worker_threads(RPC_THREADS)
            .thread_name("rpc")
            .enable_all()
            .build()?;
        let serving = async move { serve(ledger, address(port), Limits::default()).await };
        let serving = runtime.spawn(serving);
        let _runtime = Apart(Some(runtime));
        Ok(Self { validators, server: serving.await??, port, _runtime })
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    fn ledger(&self) -> &Ledger {
        &self.validators[0].ledger
    }

    /// Gas that a block may use.
    pub(super) fn gas_limit(&self) -> u64 {
        self.ledger().head().header.gas_limit
    }

    /// How long `blocks` blocks took to be final, in milliseconds each.
    pub(super) async fn finality(&self, blocks: usize) -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::new();
        let mut head = self.ledger().subscribe();
        while times.len() < blocks {
            let block = next(&mut head).await?;
            times.push(final_after(&block)?);
        }
        Ok(times)
    }

    /// How long the next block with transactions took to be final, in milliseconds, if it has `count`.
    pub(super) async fn time_of(&self, count: usize) -> anyhow::Result<Option<f64>> {
        let mut head = self.ledger().subscribe();
        loop {
            let block = next(&mut head).await?;
            let time = final_after(&block)?;
            if !block.transactions.is_empty() {
                return Ok((block.transactions.len() == count).then_some(time));
            }
        }
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

async fn next(head: &mut Subscription) -> anyhow::Result<Arc<Finalized>> {
    head.next().await?.context("the ledger stopped")
}

/// Milliseconds from a block's time until now.
fn final_after(block: &Finalized) -> anyhow::Result<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let then = Duration::from_millis(block.header.timestamp_ms);
    Ok(now.saturating_sub(then).as_secs_f64() * 1_000.0)
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
