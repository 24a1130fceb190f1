//! Which addresses and ports clients may be taken to.
//!
//! Place: asked by `dial` for each address after it was looked up, so that no name leads around it, and by tunnels for their port. What the
//! configuration names itself (`resolve`, an upstream proxy) is not asked about.
//! Source: RFC 6890 (special-purpose addresses), RFC 4291 §2.5.5, RFC 6052, RFC 3056 (IPv4 inside IPv6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};

/// Where machines in clouds ask for their own credentials, outside the link-local networks.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// IPv4 addresses in these are the last four octets (RFC 6052 §2.1, RFC 4291 §2.5.5.1).
const TRANSLATED: [(Ipv6Addr, u8); 2] = [(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96), (Ipv6Addr::UNSPECIFIED, 96)];

/// Where clients may be taken to.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Every client is on this machine, so that it may be taken to what only this machine reaches.
    pub local_clients: bool,
    /// Reached whatever follows.
    pub allowed: Vec<IpNet>,
    /// Refused.
    pub denied: Vec<IpNet>,
    /// Ports of tunnels; `None`: any.
    pub connect_ports: Option<Vec<u16>>,
}

impl Reach {
    /// Why that address is not for clients; `None`: it is.
    pub fn objection(&self, address: IpAddr) -> Option<&'static str> {
        let address = address.to_canonical();
        if self.allowed.iter().any(|network| network.contains(&address)) {
            return None;
        }
        // An address that leads to another one is refused for either.
        self.about(address).or_else(|| embedded(address).and_then(|inner| self.objection(inner)))
    }

    fn about(&self, address: IpAddr) -> Option<&'static str> {
        let reason = match address {
            _ if self.denied.iter().any(|network| network.contains(&address)) => "in a network that the configuration denies",
            _ if METADATA.contains(&address) => "where machines of clouds ask for their credentials",
            IpAddr::V4(ip) if ip.is_link_local() => "link-local, as are machines' credentials in clouds",
            IpAddr::V6(ip) if ip.is_unicast_link_local() => "link-local",
            _ if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) => "no address of a single machine",
            _ if !self.local_clients && is_this_machine(address) => "this machine",
            _ => return None,
        };
        Some(reason)
    }

    /// Whether a tunnel may lead to that port.
    pub fn connects_to(&self, port: u16) -> bool {
        self.connect_ports.as_ref().is_none_or(|ports| ports.contains(&port))
    }
}

/// Loopback, and 0.0.0.0/8 and ::, which systems take for it.
fn is_this_machine(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_loopback() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unspecified(),
    }
}

/// The IPv4 address that a translator or a tunnel takes that address for.
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(ip) = address else { return None };
    let octets = ip.octets();
    let is_translated = TRANSLATED.iter().any(|(network, len)| Ipv6Net::new_assert(*network, *len).contains(&ip));
    let inner: [u8; 4] = match octets {
        // RFC 3056 §2: 6to4.
        [0x20, 0x02, a, b, c, d, ..] => [a, b, c, d],
        [.., a, b, c, d] if is_translated && !ip.is_loopback() && !ip.is_unspecified() => [a, b, c, d],
        _ => return None,
    };
    Some(IpAddr::V4(inner.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(reach: &Reach, address: &str) -> bool {
        reach.objection(address.parse().unwrap()).is_some()
    }

    #[test]
    fn this_machine_is_for_clients_on_it() {
        let (others, own) = (Reach::default(), Reach { local_clients: true, ..Reach::default() });
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "::7f00:1",
            "2002:7f00:1::",
        ] {
            assert!(refuses(&others, address), "{address}");
            assert!(!refuses(&own, address), "{address}");
        }
    }

    #[test]
    fn credentials_of_machines_are_for_nobody() {
        let own = Reach { local_clients: true, ..Reach::default() };
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "192.0.0.192",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(refuses(&own, address), "{address}");
        }
    }

    #[test]
    fn what_is_allowed_goes_before_what_is_denied() {
        let network = |text: &str| vec![text.parse().unwrap()];
        let reach = Reach { allowed: network("10.1.0.0/16"), denied: network("10.0.0.0/8"), ..Reach::default() };

        assert!(refuses(&reach, "10.2.0.1") && refuses(&reach, "::ffff:10.2.0.1"));
        assert!(!refuses(&reach, "10.1.0.1") && !refuses(&reach, "192.0.2.1") && !refuses(&reach, "2001:db8::1"));
    }

    #[test]
    fn tunnels_lead_to_listed_ports() {
        let reach = Reach { connect_ports: Some(vec![443]), ..Reach::default() };
        assert!(reach.connects_to(443) && !reach.connects_to(25));
        assert!(Reach::default().connects_to(25));
    }
}
