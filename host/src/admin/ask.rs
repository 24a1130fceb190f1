//! Asking a running proxy.
//!
//! Place: used by `cli`; the other side is `routes`.

use std::{io, path::Path};

use http::{Method, Request};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::NotDone;

/// Most octets of an answer: a list of all plugins has some 100 KiB at most.
const MAX_ANSWER: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no flowgate answers at {path}: is it running, with this state folder? (say which with --state or --config, as for run)")]
    Absent {
        /// The socket.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It said no, and why.
    #[error("{0}")]
    Refused(String),
    /// It speaks otherwise than expected.
    #[error("asking the running flowgate failed: {0}")]
    Broken(String),
}

/// Asks the proxy whose socket lies at `path`; the answer is JSON.
///
/// # Errors
/// Nobody listens there, or the answer is a refusal.
pub async fn ask<T: DeserializeOwned>(path: &Path, method: Method, target: &str) -> Result<T, AskError> {
    let connected = UnixStream::connect(path).await;
    let stream = connected.map_err(|source| AskError::Absent { path: path.display().to_string(), source })?;
    let broken = |error: &dyn std::fmt::Display| AskError::Broken(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let request = Request::builder().method(method).uri(target).header("host", "flowgate").body(Empty::<bytes::Bytes>::new());
    let exchange = async {
        let response = sender.send_request(request.map_err(|error| broken(&error))?).await.map_err(|error| broken(&error))?;
        let status = response.status();
        let content = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| broken(&error))?.to_bytes();
        Ok((status, content))
    };
    let (status, content) = tokio::select! {
        answer = exchange => answer?,
        ended = connection => return Err(ended.err().map_or_else(|| broken(&"the connection ended"), |error| broken(&error))),
    };
    if status.is_success() {
        return serde_json::from_slice(&content).map_err(|error| broken(&error));
    }
    Err(match serde_json::from_slice(&content) {
        Ok(NotDone { error }) => AskError::Refused(error),
        Err(_) => broken(&format!("it answered {status}")),
    })
}
