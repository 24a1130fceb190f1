//! What the tests of several files here need: a root, `openssl`, and handshakes in memory.

use std::{path::Path, process::Command, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, Connection, Error, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
    crypto::CryptoProvider,
};
use rustls_pki_types::ServerName;

use super::{Root, provider};

/// A root in a folder that goes away with the test.
pub(super) fn root() -> (tempfile::TempDir, Root) {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::open_or_create(folder.path()).unwrap();
    (folder, root)
}

/// What `openssl` prints; panics where it is missing or fails.
pub(super) fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl is needed for this test");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "openssl {arguments:?}: {text}");
    text
}

/// A client that trusts the root and nothing else.
pub(super) fn trusting(root: &Root, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    trusting_by(root, provider(), versions)
}

/// The same, with suites of its own.
pub(super) fn trusting_by(root: &Root, provider: Arc<CryptoProvider>, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root.certificate_der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

/// Both ends after a handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) client: ClientConnection,
    pub(super) server: ServerConnection,
}

/// A handshake in memory, tickets included; the error is the client's where it has one.
pub(super) fn handshake(client: Arc<ClientConfig>, name: &str, server: Arc<ServerConfig>) -> Result<Handshake, Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = Connection::from(ClientConnection::new(client, name)?);
    let mut server = Connection::from(ServerConnection::new(server)?);
    while client.wants_write() || server.wants_write() {
        let at_server = pass(&mut client, &mut server);
        pass(&mut server, &mut client)?;
        at_server?;
    }
    match (client, server) {
        (Connection::Client(client), Connection::Server(server)) => Ok(Handshake { client, server }),
        _ => unreachable!("they were made so above"),
    }
}

fn pass(from: &mut Connection, to: &mut Connection) -> Result<(), Error> {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut wire = &wire[..];
    while !wire.is_empty() {
        to.read_tls(&mut wire).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}
