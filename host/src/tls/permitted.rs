//! What a root may sign for, where that is less than everything: whoever gets hold of its key can then be no other site.
//!
//! Place: part of `root`; asked before a tunnel is intercepted, for a leaf outside of it would be turned down.
//! Source: RFC 5280 §4.2.1.10 (name constraints).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context, bail, ensure};
use ipnet::IpNet;
use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};
use rustls_pki_types::DnsName;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

/// Domains, with all names below them, and networks. Empty: everything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Permitted {
    domains: Vec<String>,
    networks: Vec<IpNet>,
}

impl Permitted {
    /// Domains (`example.com` is itself and all below it), addresses and networks.
    ///
    /// # Errors
    /// Names what is none of these. There must be a domain, if anything.
    pub fn parse(texts: &[String]) -> anyhow::Result<Self> {
        let mut permitted = Self::default();
        for text in texts {
            if let Some(network) = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)) {
                permitted.networks.push(network);
                continue;
            }
            let domain = text.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase();
            ensure!(
                DnsName::try_from(domain.as_str()).is_ok(),
                "{text:?} is no domain, address or network, as in example.com or 10.0.0.0/8"
            );
            permitted.domains.push(domain);
        }
        ensure!(
            texts.is_empty() || !permitted.domains.is_empty(),
            "name a domain as well: a root for addresses alone would be one for all names"
        );
        Ok(permitted)
    }

    /// Whether a leaf for that host would be good.
    pub fn has(&self, host: &str) -> bool {
        if self.is_everything() {
            return true;
        }
        if let Ok(ip) = host.parse::<IpAddr>() {
            return self.networks.iter().any(|network| network.contains(&ip));
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.domains.iter().any(|domain| host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
    }

    /// Nothing is left out.
    pub fn is_everything(&self) -> bool {
        self.domains.is_empty() && self.networks.is_empty()
    }

    /// The same as an extension of a certificate.
    pub(super) fn constraints(&self) -> Option<NameConstraints> {
        if self.is_everything() {
            return None;
        }
        let subnet = |network: &IpNet| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(network.network(), network.prefix_len()));
        let domains = self.domains.iter().cloned().map(GeneralSubtree::DnsName);
        let permitted_subtrees = domains.chain(self.networks.iter().map(subnet)).collect();
        // A kind of names of which nothing is said is not constrained.
        let all = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
        let none = |family: &IpAddr| self.networks.is_empty().then(|| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*family, 0)));
        Some(NameConstraints { permitted_subtrees, excluded_subtrees: all.iter().filter_map(none).collect() })
    }

    /// What the certificate in these octets (DER) says of itself.
    ///
    /// # Errors
    /// It is none, or says so in a way that is not understood here.
    pub fn of_der(certificate: &[u8]) -> anyhow::Result<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).context("this is no certificate")?;
        Self::of(&certificate)
    }

    /// What a certificate says of itself.
    ///
    /// # Errors
    /// It says so in a way that is not understood here.
    pub(super) fn of(certificate: &X509Certificate<'_>) -> anyhow::Result<Self> {
        let mut permitted = Self::default();
        let constraints = certificate.name_constraints().context("reading its name constraints")?;
        for subtree in constraints.iter().flat_map(|constraints| constraints.value.permitted_subtrees.iter().flatten()) {
            match &subtree.base {
                GeneralName::DNSName(domain) => permitted.domains.push(domain.trim_start_matches('.').to_ascii_lowercase()),
                GeneralName::IPAddress(octets) => {
                    permitted.networks.push(network(octets).context("reading a network in its name constraints")?)
                }
                other => bail!("its name constraints hold {other}, which is not understood here"),
            }
        }
        Ok(permitted)
    }
}

/// As people write it.
impl fmt::Display for Permitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks = self.networks.iter().map(ToString::to_string);
        let all: Vec<_> = self.domains.iter().cloned().chain(networks).collect();
        f.write_str(if all.is_empty() { "everything" } else { "" })?;
        f.write_str(&all.join(", "))
    }
}

/// An address and its mask.
fn network(octets: &[u8]) -> Option<IpNet> {
    let (address, mask): (IpAddr, IpAddr) = match *octets {
        [a, b, c, d, e, f, g, h] => (Ipv4Addr::new(a, b, c, d).into(), Ipv4Addr::new(e, f, g, h).into()),
        _ => {
            let (address, mask) = octets.split_first_chunk::<16>()?;
            (Ipv6Addr::from(*address).into(), Ipv6Addr::from(<[u8; 16]>::try_from(mask).ok()?).into())
        }
    };
    IpNet::with_netmask(address, mask).ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use rustls::client::danger::ServerCertVerifier;
    use rustls_pki_types::{ServerName, UnixTime};

    use super::*;
    use crate::tls::{Leaves, Root, provider, testing};

    fn permitted(texts: &[&str]) -> Permitted {
        Permitted::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn domains_have_all_names_below_them() {
        let some = permitted(&["Example.com", "*.internal", "10.0.0.0/8", "::1"]);
        for host in ["example.com", "a.b.EXAMPLE.com.", "internal", "x.internal", "10.1.2.3", "::1"] {
            assert!(some.has(host), "{host}");
        }
        for host in ["notexample.com", "com", "example.com.evil.test", "11.0.0.1", "::2", ""] {
            assert!(!some.has(host), "{host}");
        }
        assert!(Permitted::default().has("anything"));
        assert!(Permitted::parse(&["10.0.0.0/8".to_owned()]).is_err() && Permitted::parse(&["a b".to_owned()]).is_err());
    }

    #[test]
    fn a_constrained_root_is_good_for_its_names_only() {
        let folder = tempfile::tempdir().unwrap();
        for texts in [&["example.com"][..], &["example.com", "10.0.0.0/8"]] {
            let state = folder.path().join(texts.len().to_string());
            let root = Arc::new(Root::create(&state, &permitted(texts)).unwrap());
            assert_eq!(Root::open_or_create(&state).unwrap().permitted(), &permitted(texts));
            let mut roots = rustls::RootCertStore::empty();
            roots.add(root.certificate_der().clone()).unwrap();
            let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
            let leaves = Leaves::new(root.clone(), 10).unwrap();

            for host in ["example.com", "api.example.com", "example.org", "10.0.0.1", "192.0.2.1", "::1"] {
                let leaf = leaves.for_host(host).unwrap();
                let name = ServerName::try_from(host).unwrap();
                let webpki = verifier.verify_server_cert(&leaf.cert[0], &[], &name, &[], UnixTime::now()).is_ok();
                fs::write(state.join("leaf.der"), &leaf.cert[0]).unwrap();
                testing::openssl(&state, &["x509", "-inform", "DER", "-in", "leaf.der", "-out", "leaf.pem"]);
                let openssl = std::process::Command::new("openssl")
                    .args(["verify", "-x509_strict", "-CAfile", "flowgate-ca.pem", "leaf.pem"])
                    .current_dir(&state)
                    .output()
                    .unwrap();

                assert_eq!(
                    (webpki, openssl.status.success()),
                    (root.permitted().has(host), root.permitted().has(host)),
                    "{texts:?} {host}"
                );
            }
        }
    }

    #[test]
    fn there_is_one_root_and_it_is_not_made_twice() {
        let (folder, _root) = testing::root();

        let error = Root::create(folder.path(), &Permitted::default()).unwrap_err().to_string();

        assert!(error.contains("flowgate ca rotate"), "{error}");
    }
}
