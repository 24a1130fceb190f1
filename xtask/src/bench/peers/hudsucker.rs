//! hudsucker as in its example that does nothing, but with TCP_NODELAY on both sides: without it every chunked answer waits for a delayed
//! acknowledgement. Arguments: a PEM file of the root to write, one of a root that origins are trusted by. Prints where it listens.

use std::{fs, net::SocketAddr, sync::Arc};

use hudsucker::{
    Proxy,
    certificate_authority::RcgenAuthority,
    hyper_util::client::legacy::connect::HttpConnector,
    rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose},
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, pem::PemObject},
    },
};
use hyper_rustls::HttpsConnectorBuilder;
use tokio::net::TcpSocket;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [own, trusted] = [1, 2].map(|at| std::env::args().nth(at).expect("two files"));
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    fs::write(own, params.self_signed(&key)?.pem())?;
    let authority = RcgenAuthority::new(Issuer::new(params, key), 1_000, aws_lc_rs::default_provider());

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted)?)?;
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        // What is accepted inherits it.
        socket.set_nodelay(true)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let listener = socket.listen(1024)?;
        println!("{}", listener.local_addr()?);
        Proxy::builder().with_listener(listener).with_ca(authority).with_http_connector(connector).build()?.start().await?;
        Ok(())
    })
}
