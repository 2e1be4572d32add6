use crate::{
    cli::Up,
    devnet::{network::Devnet, ports::Ports},
    home::Home,
};
use std::net::SocketAddr;

/// The whole way in one process: files stored, agents lost, a cheat caught, an epoch verified, a claim
/// paid. The tour checks every step itself and fails if one is not as it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tour_reaches_its_end() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::devnet(root.path());
    home.create().unwrap();
    let _lock = home.lock().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let up = Up { fresh: false, rpc: any, http: any, s3: any, control: any, agents: 8 };
    let ports = Ports::open(&up).await.unwrap();
    let devnet = Box::pin(Devnet::start(&home, ports, up.agents)).await.unwrap();
    devnet.running.write(&home).unwrap();
    super::run(root.path(), crate::cli::Tour { folder: None }, false).await.unwrap();
    devnet.stop().await;
}
