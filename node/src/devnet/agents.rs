//! The devnet's storage agents: each with its own disk folder, key and owner; stopped and started one
//! by one.

use super::{
    accounts::{Accounts, device},
    genesis,
};
use crate::{commands::join::Joining, home::Home};
use agent::Validator;
use anyhow::{Context as _, bail};
use protocol::KindId;
use std::{collections::BTreeMap, net::SocketAddr};
use storage_agent::{Config, Running, StartError, StorageAgent};
use tokio::{sync::Mutex, task::JoinSet};
use transport::Peer;

/// Where everything is that an agent needs.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The home folder.
    pub(crate) home: Home,
    /// The ledger's JSON-RPC.
    pub(crate) rpc: String,
    /// The validator's HTTP.
    pub(crate) http: String,
    /// The validator's iroh endpoint.
    pub(crate) validator: Peer,
}

/// All agents of a devnet, by number from 1.
#[derive(Debug)]
pub(crate) struct Agents {
    places: Places,
    accounts: Accounts,
    running: Mutex<BTreeMap<u8, Running>>,
}

impl Agents {
    /// Starts every agent, all at once.
    pub(crate) async fn start(places: Places, accounts: Accounts) -> anyhow::Result<Self> {
        let mut starting = JoinSet::new();
        for (number, _) in (1u8..).zip(&accounts.operators) {
            let places = places.clone();
            starting.spawn(async move { (number, places.start(number, true).await) });
        }
        let mut running = BTreeMap::new();
        while let Some(started) = starting.join_next().await {
            let (number, started) = started?;
            running.insert(number, started.with_context(|| format!("starting agent-{number}"))?);
        }
        let agents = Self { places, accounts, running: Mutex::new(BTreeMap::new()) };
        for (&number, agent) in &running {
            agents.announce(number, &agent.endpoint()).await?;
        }
        *agents.running.lock().await = running;
        Ok(agents)
    }

    /// Starts one agent that was stopped.
    pub(crate) async fn restart(&self, number: u8, declare_losses: bool) -> anyhow::Result<()> {
        let mut running = self.running.lock().await;
        if running.contains_key(&number) {
            bail!("agent-{number} runs already");
        }
        self.owner(number)?;
        let agent = self.places.start(number, declare_losses).await?;
        self.announce(number, &agent.endpoint()).await?;
        running.insert(number, agent);
        Ok(())
    }

    /// Stops one agent.
    pub(crate) async fn stop(&self, number: u8) -> anyhow::Result<()> {
        match self.running.lock().await.remove(&number) {
            Some(agent) => agent.stop().await,
            None => bail!("agent-{number} does not run"),
        }
        Ok(())
    }

    /// Stops all.
    pub(crate) async fn stop_all(&self) {
        let mut stopping = JoinSet::new();
        for (_, agent) in std::mem::take(&mut *self.running.lock().await) {
            stopping.spawn(agent.stop());
        }
        while stopping.join_next().await.is_some() {}
    }

    fn owner(&self, number: u8) -> anyhow::Result<&super::accounts::Named> {
        usize::from(number)
            .checked_sub(1)
            .and_then(|at| self.accounts.operators.get(at))
            .with_context(|| format!("there is no agent-{number}"))
    }

    /// Announces an endpoint, if the ledger knows another.
    async fn announce(&self, number: u8, endpoint: &str) -> anyhow::Result<()> {
        let ledger = super::client(&self.places.home, &self.places.rpc).await?;
        let joining = Joining {
            network: genesis::NETWORK,
            kind: KindId(1),
            key: device(number).key(),
            capacity: genesis::CAPACITY,
            owner: &self.owner(number)?.signer,
        };
        joining.announce(&ledger, endpoint).await?;
        Ok(())
    }
}

impl Places {
    /// Starts an agent where the genesis announced it, or on a free port if that one is taken.
    async fn start(&self, number: u8, declare_losses: bool) -> anyhow::Result<Running> {
        let light = super::client(&self.home, &self.rpc).await?.trust();
        let config = |listen| {
            let config = self.config(number, listen, declare_losses);
            Config { light: light.clone(), ..config }
        };
        let wanted = config(genesis::endpoint(number));
        match StorageAgent::start(wanted).await {
            Err(StartError::Bind(error)) => {
                tracing::info!(%error, number, "the agent takes another port");
                let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
                Ok(StorageAgent::start(config(anywhere)).await?)
            }
            result => Ok(result?),
        }
    }

    fn config(&self, number: u8, listen: SocketAddr, declare_losses: bool) -> Config {
        let data = self.home.agent(number);
        let mut config = Config::new(genesis::NETWORK, self.rpc.clone(), data, device(number));
        config.validators = vec![Validator { http: self.http.clone(), peer: Some(self.validator) }];
        config.capacity = genesis::CAPACITY;
        config.listen = listen;
        config.declare_losses = declare_losses;
        config
    }
}
