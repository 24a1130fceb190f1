//! `scale`: what a request costs when there is more of everything: connections, plugins that want other flows, hosts that were visited.
//!
//! Of flowgate without plugins that want the flow, and for connections of a tunnel, too: a process that is asked seldom wakes up for each request.

use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;
use serde_json::{Value, json};

use super::{
    Options, Programs, load,
    process::Proxy,
    programs::PLAIN,
    requests::{Contender, Place, compare},
};

/// What there is more of.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Dimension {
    /// Connections kept alive, all busy
    Connections,
    /// Plugins in Rust that subscribe to other hosts
    Plugins,
    /// Hosts that were visited before; the requests are for 16 of them
    Hosts,
}

/// The first of each is what the others are compared with.
const CONNECTIONS: [usize; 6] = [16, 1, 4, 64, 256, 512];
const PLUGINS: [usize; 4] = [0, 1, 8, 64];
const HOSTS: [usize; 4] = [10, 100, 1_000, 10_000];
/// Connections where their number is not the question.
const CLIENTS: usize = 16;

pub(crate) fn run(options: &Options, programs: &Programs, folder: &Path) -> anyhow::Result<Value> {
    let place = Place::open(programs, folder)?;
    let start = |name: String, load: &load::Options, proxy: &Proxy| Contender::start(&name, proxy, programs, load);
    let load = |address, root: &Path, clients, hosts| {
        let load = load::Options::completions(&place.origin, address, root, clients);
        load::Options { hosts, ..load }
    };
    let mut tables = Vec::new();
    for dimension in options.of.map_or_else(|| Dimension::value_variants().to_vec(), |one| vec![one]) {
        let own = |number: usize| folder.join(format!("{dimension:?}-{number}"));
        let mut proxies = Vec::new();
        let mut contenders = Vec::new();
        match dimension {
            Dimension::Connections => {
                let (tunnel, address) = programs.tunnel(None)?;
                let tunnels = CONNECTIONS
                    .map(|clients| start(format!("tunnel, {clients}"), &load(address, &place.certificates.root, clients, 0), &tunnel));
                let tunnels = tunnels.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
                tables.push(compare(options, "connections".to_owned(), tunnels)?);
                let (proxy, address, root) = programs.flowgate(PLAIN, &own(0), &place.certificates)?;
                for clients in CONNECTIONS {
                    contenders.push(start(format!("flowgate, {clients}"), &load(address, &root, clients, 0), &proxy)?);
                }
                proxies.push(proxy);
            }
            Dimension::Plugins => {
                for number in PLUGINS {
                    let names = (0..number).map(|plugin| format!("other{plugin}"));
                    // One component for all: it is called as its configuration says.
                    programs.put_plugin(&own(number), "chameleon", names.clone())?;
                    let settings = names.map(|name| {
                        format!(
                            "[plugins.{name}]\ngrants = [\"key-value\", \"metrics\"]\noutbound = [\"https://{name}.example\"]\n\
                             required = true\nconfig = {{ name = \"{name}\", hosts = [\"*.{name}.example\"], singleton = true }}\n"
                        )
                    });
                    let settings = [PLAIN.to_owned(), settings.collect()].concat();
                    let (proxy, address, root) = programs.flowgate(&settings, &own(number), &place.certificates)?;
                    contenders.push(start(format!("plugins, {number}"), &load(address, &root, CLIENTS, 0), &proxy)?);
                    proxies.push(proxy);
                }
            }
            Dimension::Hosts => {
                for number in HOSTS {
                    let settings = [&place.names(number), PLAIN].concat();
                    let (proxy, address, root) = programs.flowgate(&settings, &own(number), &place.certificates)?;
                    let load = load(address, &root, CLIENTS, number);
                    contenders.push(start(format!("hosts, {number}"), &load, &proxy).context("visiting hosts")?);
                    proxies.push(proxy);
                }
            }
        }
        tables.push(compare(options, format!("{dimension:?}").to_lowercase(), contenders)?);
    }
    Ok(json!({ "tables": tables }))
}
