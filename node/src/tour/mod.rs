//! `wayleave tour`: what the network does for customers and against cheats, shown on a running devnet.
//!
//! Every figure is read from the network while it happens; nothing is scripted. The same steps run as
//! an end-to-end test.

mod cast;
mod cheat;
mod files;
mod settle;

use crate::{
    cli,
    commands::network::Network,
    devnet::{
        control::{self, Backlog},
        running::Running,
    },
    home::Home,
    http::Http,
    out,
    s3::S3,
};
use anyhow::bail;
use bytes::Bytes;
use hyper::{Method, StatusCode, header::HeaderName};
use serde_json::json;
use std::{path::Path, time::Instant};

/// The bucket of the tour.
const BUCKET: &str = "tour";

/// A tour under way.
pub(crate) struct Tour {
    running: Running,
    home: Home,
    network: Network,
    s3: S3,
    http: Http,
    began: Instant,
    json: bool,
}

/// Runs the tour.
pub(crate) async fn run(root: &Path, arguments: cli::Tour, json: bool) -> anyhow::Result<()> {
    let home = Home::devnet(root);
    let running = Running::read(&home).await?;
    if usize::from(running.agents) < 8 {
        bail!("the tour needs 8 agents: start the devnet with `wayleave up --agents 8`");
    }
    let network = Network::connect(&cli::Ledger {
        ledger: Some(running.rpc.clone()),
        chain_id: Some(crate::devnet::accounts::CHAIN_ID),
        validator: vec![running.http.clone()],
        network: crate::devnet::genesis::NETWORK.0,
        genesis: Some(home.genesis()),
        seen: home.path().to_owned(),
    })
    .await?;
    let s3 = S3::new(&running.s3, BUCKET)?;
    let tour = Tour { running, home, network, s3, http: Http::new(), began: Instant::now(), json };
    tour.run(arguments.folder.as_deref()).await
}

impl Tour {
    async fn run(&self, folder: Option<&Path>) -> anyhow::Result<()> {
        let files = files::load(folder)?;
        self.store(&files).await?;
        let cast = self.cast().await?;
        let missed = self.lose_two_agents(&files, &cast).await?;
        self.cheat_and_wait(&cast, missed).await?;
        self.statements(&cast).await?;
        self.verify().await?;
        self.claim(&cast).await?;
        self.say("Done", "everything above was read from the running network");
        Ok(())
    }

    /// Prints one step as it happens.
    fn say(&self, what: &str, text: impl AsRef<str>) {
        let (seconds, text) = (self.began.elapsed().as_secs_f32(), text.as_ref());
        if self.json {
            out::json_line(&json!({ "seconds": seconds, "step": what, "text": text }));
        } else {
            out::line(format!("{seconds:5.1} s  {what}: {text}"));
        }
    }

    /// Prints more about the step before.
    fn more(&self, text: impl AsRef<str>) {
        let text = text.as_ref();
        if self.json {
            out::json_line(&json!({ "detail": text }));
        } else {
            out::line(format!("           {text}"));
        }
    }

    /// Sends a control request to the devnet.
    async fn control(&self, agent: u8, action: &str) -> anyhow::Result<()> {
        let url = format!("{}/devnet/agents/{agent}/{action}", self.running.control);
        let token = [(HeaderName::from_static(control::TOKEN), self.running.token.as_str())];
        let (status, body) = self.http.send(Method::POST, &url, &token, Bytes::new()).await?;
        if status != StatusCode::NO_CONTENT {
            bail!("{action} of agent-{agent}: {}", String::from_utf8_lossy(&body));
        }
        Ok(())
    }

    /// What the S3 service still has to do.
    async fn backlog(&self) -> anyhow::Result<Backlog> {
        let url = format!("{}/devnet/s3", self.running.control);
        let token = [(HeaderName::from_static(control::TOKEN), self.running.token.as_str())];
        let (status, body) = self.http.send(Method::GET, &url, &token, Bytes::new()).await?;
        if status != StatusCode::OK {
            bail!("{url} answered {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(serde_json::from_slice(&body)?)
    }
}

impl std::fmt::Debug for Tour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tour").field("network", &self.network).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
