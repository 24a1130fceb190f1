//! The settings of a handshake with a client, for which a certificate may have to be made.
//!
//! Place: between `connection` or `tunnel`, which have read the hello, and `tls`. A client that asks for ever new names gets their certificates
//! at a bounded rate; what others have asked for already costs it nothing.

use std::{io, sync::Arc};

use rustls::ServerConfig;

use super::{Front, clients::Client};
use crate::tls::Protocol;

/// See [`Interceptor::config`](crate::tls::Interceptor::config).
///
/// # Errors
/// No certificate can be made, or too many were made for this client of late.
pub(super) async fn config(
    front: &Front,
    client: &Client,
    server_name: Option<&str>,
    host: &str,
    protocol: Protocol,
) -> io::Result<Arc<ServerConfig>> {
    let tls = &front.interceptor;
    if !tls.has_leaf(server_name, host) && !client.may_have_leaf().await {
        return Err(io::Error::other("this client asks for too many names that nobody has asked for before (limits.leaves-per-client)"));
    }
    tls.config(server_name, host, protocol).map_err(io::Error::other)
}
