//! The proxy inside another program, with native hooks in place of plugins: counts requests per host.
//!
//! `cargo run --example embed`, then `curl -x http://127.0.0.1:8080 …` and Ctrl-C.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use flowgate::{
    app::Network,
    config::Config,
    hooks::{Course, Hooks, Probe},
};

/// Sees every request and wants none: nothing is captured, nothing waits.
#[derive(Debug, Default)]
struct Count {
    requests: Mutex<BTreeMap<String, u64>>,
}

impl Hooks for Count {
    fn wants_host(&self, _: &str) -> bool {
        true
    }

    fn open(&self, request: &Probe<'_>) -> Option<Box<dyn Course>> {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(request.host.to_owned()).or_default() += 1;
        None
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let count = Arc::new(Count::default());
    let network = Network::start(&Config::in_folder(std::path::Path::new("embed-state")), count.clone())?;
    println!("listening on {:?}", network.addresses());
    tokio::signal::ctrl_c().await?;
    network.stop().await;
    println!("{:#?}", count.requests.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(())
}
