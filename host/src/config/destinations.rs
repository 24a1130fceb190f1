//! Where clients may be taken to: what is written about it.
//!
//! Place: a part of [`super::Config`]; `origin::Reach` decides by it.

use std::net::IpAddr;

use anyhow::Context;
use ipnet::IpNet;

use super::{Config, raw};

/// What `private` stands for: RFC 1918, RFC 6598 and RFC 4193.
const PRIVATE: [&str; 5] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"];

/// Ports that CONNECT reaches from other machines where nothing else is written: web servers'. Any port would make the proxy a way to mail
/// servers and databases.
pub const CONNECT_PORTS: [u16; 3] = [80, 443, 8443];

/// Where clients may be taken to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DestinationsConfig {
    /// Networks that are reached although they would be refused.
    pub allow: Vec<IpNet>,
    /// Networks that are refused besides those that always are.
    pub deny: Vec<IpNet>,
    /// Ports that CONNECT reaches; empty: any. `None`: nothing is written, so it depends on who can be a client.
    pub connect_ports: Option<Vec<u16>>,
}

impl DestinationsConfig {
    /// Flags beat the file, key by key.
    ///
    /// # Errors
    /// Names the key and what is no network.
    pub(super) fn resolve(flags: &raw::Flags, written: raw::Destinations) -> anyhow::Result<Self> {
        let chosen = |flag: &[String], file: Vec<String>| if flag.is_empty() { file } else { flag.to_vec() };
        Ok(Self {
            allow: networks("destinations.allow", &chosen(&flags.allow_destination, written.allow))?,
            deny: networks("destinations.deny", &chosen(&flags.deny_destination, written.deny))?,
            connect_ports: if flags.connect_port.is_empty() { written.connect_ports } else { Some(flags.connect_port.clone()) },
        })
    }
}

impl Config {
    /// Whether every client is on this machine: then it reaches nothing through the proxy that it could not reach without. A balancer's are not,
    /// wherever the balancer is.
    pub fn serves_this_machine_only(&self) -> bool {
        self.proxy_protocol.is_empty()
            && self.listen.iter().chain(&self.listen_tls).all(|address| address.ip().to_canonical().is_loopback())
    }
}

/// Networks, as they are written under that key.
///
/// # Errors
/// Names the key and what is no network.
pub(super) fn networks(key: &str, written: &[String]) -> anyhow::Result<Vec<IpNet>> {
    let mut networks = Vec::new();
    for text in written {
        if text == "private" {
            networks.extend(PRIVATE.map(|network| network.parse::<IpNet>().expect("a network is written there")));
            continue;
        }
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        networks.push(
            network.with_context(|| {
                format!("{key}: {text:?} is no network: an address, a network as in 10.0.0.0/8, or private is expected")
            })?,
        );
    }
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_addresses_networks_and_a_word() {
        let written = ["10.1.0.0/16", "::1", "private"].map(str::to_owned);

        let networks = networks("destinations.allow", &written).unwrap();

        assert_eq!(networks.len(), 2 + PRIVATE.len());
        assert_eq!(networks[1].prefix_len(), 128);
        let error = super::networks("destinations.deny", &["intranet".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, "destinations.deny: \"intranet\" is no network: an address, a network as in 10.0.0.0/8, or private is expected");
    }
}
