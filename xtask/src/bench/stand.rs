//! What the timed modes share: a site, and contenders that lead to it.

use std::{net::SocketAddr, path::Path, rc::Rc};

use anyhow::Context;
use tokio::{runtime::Runtime, task::LocalSet};

use super::{
    OTHER_CPU, Programs, clock,
    load::one_thread,
    process::Proxy,
    programs::own,
    shape::Certificates,
    site::{self, Log},
    visitor::Visitor,
};

/// One way to the site.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// None goes straight.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) visitor: Visitor,
}

/// The site and this thread, which serves it and visits it.
pub(crate) struct Stand {
    runtime: Runtime,
    tasks: LocalSet,
    pub(crate) log: Rc<Log>,
    certificates: Certificates,
    address: SocketAddr,
}

impl Stand {
    pub(crate) fn open(folder: &Path) -> anyhow::Result<Self> {
        clock::stay_on(OTHER_CPU)?;
        let (runtime, tasks, certificates) = (one_thread()?, LocalSet::new(), Certificates::make(folder)?);
        let (address, log) = tasks.block_on(&runtime, site::open(&certificates))?;
        Ok(Self { runtime, tasks, log, certificates, address })
    }

    /// Lets it happen, and the site serve meanwhile.
    pub(crate) fn run<T>(&self, happening: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        self.tasks.block_on(&self.runtime, happening)
    }

    pub(crate) fn direct(&self) -> anyhow::Result<Contender> {
        Ok(Contender { name: "direct", proxy: None, visitor: self.visitor(None, &[])? })
    }

    pub(crate) fn tunnel(&self, programs: &Programs) -> anyhow::Result<Contender> {
        let (proxy, address) = programs.tunnel(None)?;
        Ok(Contender { name: "tunnel", proxy: Some(proxy), visitor: self.visitor(Some(address), &[])? })
    }

    /// A tunnel that ends TLS on both sides, and does nothing else.
    pub(crate) fn tls_tunnel(&self, programs: &Programs) -> anyhow::Result<Contender> {
        let (proxy, address) = programs.tunnel(Some(&self.certificates))?;
        Ok(Contender { name: "TLS ended, no more", proxy: Some(proxy), visitor: self.visitor(Some(address), &[])? })
    }

    /// `settings`: the text of its `flowgate.toml`.
    pub(crate) fn flowgate(&self, programs: &Programs, name: &'static str, settings: &str, folder: &Path) -> anyhow::Result<Contender> {
        let (proxy, address, root) = programs.flowgate(settings, &own(folder, name), &self.certificates)?;
        Ok(Contender { name, proxy: Some(proxy), visitor: self.visitor(Some(address), &[&root]).context(name)? })
    }

    /// Trusts the site, and whoever else is named.
    fn visitor(&self, proxy: Option<SocketAddr>, others: &[&Path]) -> anyhow::Result<Visitor> {
        let trusted = [&[self.certificates.root.as_path()], others].concat();
        Visitor::new(proxy, &trusted, &format!("localhost:{}", self.address.port()))
    }
}
