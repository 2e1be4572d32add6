//! `wayleave up`: the whole network on this machine, what was made and where, and one live line.

use super::{
    accounts::{Accounts, CHAIN_ID, MNEMONIC, Named},
    demo,
    network::Devnet,
    ports::Ports,
    running::Running,
};
use crate::{
    cli::{self, Up},
    commands::{network::Network, status},
    home::Home,
    out,
    show::Show,
    stop,
};
use anyhow::Context as _;
use serde_json::json;
use std::{path::Path, time::Instant};

/// Starts everything, prints what was made, and shows one live line until Ctrl-C.
pub(crate) async fn run(root: &Path, up: Up, json: bool) -> anyhow::Result<()> {
    let began = Instant::now();
    let home = Home::devnet(root);
    home.create().with_context(|| {
        format!("making {} (another place: --home FOLDER)", home.path().display())
    })?;
    let lock = home.lock()?;
    if up.fresh {
        home.clear().with_context(|| format!("emptying {}", home.path().display()))?;
    }
    Running::forget(&home)?;
    let made = Made { resumed: home.ledger().exists(), began };
    let ports = Ports::open(&up).await?;
    let mut devnet = Box::pin(Devnet::start(&home, ports, up.agents)).await?;
    devnet.running.write(&home)?;
    let show = Show::new(json);
    match show {
        Show::Json => out::json_line(&made.document(&home, &devnet)),
        Show::Lines(_) => made.banner(&home, &devnet),
    }
    let result = live(&home, &mut devnet, show).await;
    show.stopping("stopping; `wayleave up` resumes from here");
    devnet.stop().await;
    drop(lock);
    result
}

/// How the devnet came to be.
#[derive(Clone, Copy, Debug)]
struct Made {
    resumed: bool,
    began: Instant,
}

impl Made {
    fn document(self, home: &Home, devnet: &Devnet) -> serde_json::Value {
        let Running { rpc, http, control, s3, agents, .. } = &devnet.running;
        json!({
            "home": home.path(),
            "resumed": self.resumed,
            "agents": agents,
            "chainId": CHAIN_ID,
            "trust": "founder-trusted",
            "rpc": rpc,
            "http": http,
            "metrics": format!("{control}/metrics"),
            "s3": s3,
        })
    }

    fn banner(self, home: &Home, devnet: &Devnet) {
        let Running { rpc, http, control, s3, agents, .. } = &devnet.running;
        let what = if self.resumed { "resumed" } else { "made" };
        out::line(format!(
            "Wayleave {} - a network of {agents} storage agents, {what} in {:.1} s",
            env!("CARGO_PKG_VERSION"),
            self.began.elapsed().as_secs_f32()
        ));
        out::line("Trust: founder-trusted (one validator). Nothing leaves this machine.");
        section("Where it answers");
        let fact = |name: &str, value: String| (name.to_owned(), value);
        out::table(&[
            fact("Ledger (JSON-RPC)", format!("{rpc}, chain id {CHAIN_ID}")),
            fact("S3", s3.url.clone()),
            fact("Evidence, statements", http.clone()),
            fact("Metrics", format!("{control}/metrics")),
            fact("All state", home.path().display().to_string()),
        ]);
        section("S3 credentials");
        s3.exports().iter().for_each(out::line);
        section("Accounts (keys that everybody knows: never send them anything of value)");
        if let Ok(accounts) = Accounts::derive(*agents) {
            for named in accounts.all().take(4) {
                account(named);
            }
            out::line(format!("  … up to operator-{agents}, of the mnemonic"));
            out::line(format!("  {MNEMONIC}"));
        }
        section("Next");
        out::table(&[
            fact("wayleave tour", "# in a second terminal".into()),
            fact(
                &format!("aws s3 cp README.md s3://{}/", demo::BUCKET),
                "# with the credentials above".into(),
            ),
            fact("wayleave why agent-1", "# what it proved and earned, and why".into()),
        ]);
        out::line("");
    }
}

fn section(title: &str) {
    out::line("");
    out::line(title);
}

fn account(named: &Named) {
    let key = named.signer.to_bytes();
    out::line(format!("  {:<10}  {}", named.name, named.account()));
    out::line(format!("  {:<10}  {key}", "its key"));
}

/// Shows the figures after every block until the user stops it.
async fn live(home: &Home, devnet: &mut Devnet, show: Show) -> anyhow::Result<()> {
    let network = Network::connect(&cli::Ledger {
        ledger: Some(devnet.running.rpc.clone()),
        chain_id: Some(super::accounts::CHAIN_ID),
        validator: vec![devnet.running.http.clone()],
        network: super::genesis::NETWORK.0,
        genesis: Some(home.genesis()),
        seen: home.path().to_owned(),
    })
    .await?;
    let mut heights = network.ledger.follow(network.ledger.head().await?);
    let mut last = None;
    let stop = stop::asked();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            _ = heights.next() => {}
            result = &mut stop => return result,
            error = devnet.failed() => return Err(error),
        }
        let figures = match status::figures(&network).await {
            Ok(figures) => figures,
            Err(error) => {
                tracing::warn!(%error, "the figures could not be read");
                continue;
            }
        };
        // Without a terminal, one line an epoch keeps a log readable.
        let news = last.replace(figures.settled) != Some(figures.settled);
        show.figures(&figures, news);
    }
}
