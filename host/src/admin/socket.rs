//! The socket of the local interface.
//!
//! Place: bound by `app` when the proxy starts. It lies in the state folder with mode 0600, so whoever can open it could read the root's key
//! as well. No web page can reach it, and no other user.

use std::{
    fs::{self, DirBuilder, Permissions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use tokio::net::{UnixListener, UnixStream};

use super::{Operator, routes};
use crate::tasks::Tasks;

/// Most octets of a socket's path: `sun_path` has 104 on macOS and 108 on Linux, the end included.
const LONGEST: usize = 103;

/// Where the local interface of a proxy with that state folder is.
pub fn path(state: &Path) -> PathBuf {
    state.join("admin.sock")
}

/// Bound, and not answered yet.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Binds it. One that a proxy left behind which is gone is taken over. `None`: the folder's path is too long for a socket; that is said,
    /// and the proxy does without.
    ///
    /// # Errors
    /// Another proxy runs with that state folder, or the socket cannot be made there.
    pub async fn bind(state: &Path) -> anyhow::Result<Option<Self>> {
        let path = path(state);
        match UnixStream::connect(&path).await {
            Ok(_) => bail!(
                "another flowgate runs with the state folder {}: stop it, or give this one a folder of its own with --state",
                state.display()
            ),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(&path).with_context(|| format!("removing the socket {} that was left behind", path.display()))?;
            }
            // Nothing there, or something that binding will say more about.
            Err(_) => {}
        }
        // Whoever comes first makes it: the root's key will lie in it.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(state);
        made.with_context(|| format!("making the state folder {}", state.display()))?;
        if path.as_os_str().len() > LONGEST {
            tracing::warn!("{} is too long for a socket: this proxy cannot be asked anything; choose a shorter --state", path.display());
            return Ok(None);
        }
        let listener = UnixListener::bind(&path).with_context(|| format!("binding the socket {}", path.display()))?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).with_context(|| format!("protecting the socket {}", path.display()))?;
        Ok(Some(Self { listener, path }))
    }

    /// Answers on it until `tasks` are told to stop.
    pub fn serve(self, operator: Arc<dyn Operator>, tasks: &Tasks) {
        let stopping = tasks.stopping().clone();
        tasks.spawn(async move {
            let Self { listener, path } = self;
            let served = axum::serve(listener, routes::router(operator)).with_graceful_shutdown(stopping.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "the local interface has ended");
            }
            // What is left would only be taken over by the next start.
            let _ = fs::remove_file(path);
        });
    }
}
