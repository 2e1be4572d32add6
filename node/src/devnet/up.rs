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
    commands::{
        network::Network,
        status::{self, Figures},
    },
    home::Home,
    out, stop,
};
use anyhow::Context as _;
use std::{io::IsTerminal as _, path::Path, time::Instant};

/// Starts everything, prints what was made, and shows one live line until Ctrl-C.
pub(crate) async fn run(root: &Path, up: Up) -> anyhow::Result<()> {
    let began = Instant::now();
    let home = Home::devnet(root);
    home.create().with_context(|| format!("making {}", home.path().display()))?;
    let lock = home.lock()?;
    if up.fresh {
        home.clear().with_context(|| format!("emptying {}", home.path().display()))?;
    }
    Running::forget(&home)?;
    let resumed = home.ledger().exists();
    let ports = Ports::open(&up).await?;
    let devnet = Devnet::start(&home, ports, up.agents).await?;
    devnet.running.write(&home)?;
    banner(&home, &devnet, resumed, began);
    let result = live(&devnet).await;
    out::line("");
    out::line("stopping; `wayleave up` resumes from here");
    devnet.stop().await;
    drop(lock);
    result
}

fn banner(home: &Home, devnet: &Devnet, resumed: bool, began: Instant) {
    let Running { rpc, http, control, s3, agents, .. } = &devnet.running;
    let what = if resumed { "resumed" } else { "made" };
    out::line(format!(
        "Wayleave {} - a network of {agents} storage agents, {what} in {:.1} s in {}",
        env!("CARGO_PKG_VERSION"),
        began.elapsed().as_secs_f32(),
        home.path().display()
    ));
    out::line("Trust: founder-trusted (one validator). Nothing leaves this machine.");
    section("Where it answers");
    let fact = |name: &str, value: String| (name.to_owned(), value);
    out::table(&[
        fact("Ledger (JSON-RPC)", format!("{rpc}, chain id {CHAIN_ID}")),
        fact("S3", s3.url.clone()),
        fact("Evidence, statements", http.clone()),
        fact("Metrics", format!("{control}/metrics")),
    ]);
    section("S3 credentials");
    out::line(format!(
        "  export AWS_ENDPOINT_URL={} AWS_DEFAULT_REGION={}",
        s3.url,
        crate::s3::REGION
    ));
    out::line(format!("  export AWS_ACCESS_KEY_ID={} AWS_SECRET_ACCESS_KEY={}", s3.key, s3.secret));
    section("Accounts (development keys that everybody knows: never send them anything of value)");
    if let Ok(accounts) = Accounts::derive(*agents) {
        for named in accounts.all().take(4) {
            account(named);
        }
        out::line(format!("  … up to operator-{agents}; mnemonic: {MNEMONIC}"));
    }
    section("Next");
    out::line("  wayleave tour                      # in a second terminal");
    out::line(format!(
        "  aws s3 cp README.md s3://{}/       # with the credentials above",
        demo::BUCKET
    ));
    out::line("  wayleave why agent-1               # what it proved and earned, and why");
    out::line("");
}

fn section(title: &str) {
    out::line("");
    out::line(title);
}

fn account(named: &Named) {
    let key = named.signer.to_bytes();
    out::line(format!("  {:<11} {}  key {key}", named.name, named.account()));
}

/// Shows the figures after every block until the user stops it.
async fn live(devnet: &Devnet) -> anyhow::Result<()> {
    let network = Network::connect(&cli::Ledger {
        ledger: devnet.running.rpc.clone(),
        chain_id: Some(super::accounts::CHAIN_ID),
        validator: devnet.running.http.clone(),
        network: super::genesis::NETWORK.0,
    })
    .await?;
    let terminal = std::io::stdout().is_terminal();
    let mut heights = network.ledger.follow(network.ledger.head().await?);
    let mut last = Figures::default();
    let stop = stop::asked();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            _ = heights.next() => {}
            result = &mut stop => return result,
        }
        let figures = match status::figures(&network).await {
            Ok(figures) => figures,
            Err(error) => {
                tracing::warn!(%error, "the figures could not be read");
                continue;
            }
        };
        if terminal {
            out::status(figures.line());
        } else if figures.settled != last.settled || last.height == 0 {
            // Without a terminal, one line an epoch keeps a log readable.
            out::line(figures.line());
        }
        last = figures;
    }
}
