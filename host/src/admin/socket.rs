//! The socket of the local interface.
//!
//! Place: bound by `app` when the proxy starts. It lies in the state folder with mode 0600, so whoever can open it could read the root's key
//! as well. No web page can reach it, and no other user: who asks is looked at as well, in case folder and socket are opened up.

use std::{
    fs::{self, DirBuilder, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    net::{UnixListener, UnixStream, unix::SocketAddr},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use super::{Operator, routes};
use crate::{io::Layered, stamp::Stamp, tasks::Tasks};

/// Most octets of a socket's path: `sun_path` has 104 on macOS and 108 on Linux, the end included.
const LONGEST: usize = 103;

/// Pause after an accept that failed for want of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Where the local interface of a proxy with that state folder is.
pub fn path(state: &Path) -> PathBuf {
    state.join("admin.sock")
}

/// Bound, and not answered yet.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// As it was made; `None`: it was gone at once.
    made: Option<Stamp>,
    /// Whose socket it is.
    owner: u32,
    connections: usize,
}

impl Socket {
    /// Binds it for at most so many connections at once. One that a proxy left behind which is gone is taken over. `None`: the folder's path is
    /// too long for a socket; that is said, and the proxy does without.
    ///
    /// # Errors
    /// Another proxy runs with that state folder, or the socket cannot be made there.
    pub async fn bind(state: &Path, connections: usize) -> anyhow::Result<Option<Self>> {
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
        let protect = || {
            fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            Ok::<_, io::Error>(fs::metadata(&path)?.uid())
        };
        let owner = protect().with_context(|| format!("protecting the socket {}", path.display()))?;
        Ok(Some(Self { listener, made: Stamp::at(&path), path, owner, connections }))
    }

    /// Answers on it until `tasks` are told to stop.
    pub fn serve(self, operator: Arc<dyn Operator>, tasks: &Tasks) {
        let stopping = tasks.stopping().clone();
        tasks.spawn(async move {
            let Self { listener, path, made, owner, connections } = self;
            let listener = Guarded { listener, owner, places: Arc::new(Semaphore::new(connections)) };
            let served = axum::serve(listener, routes::router(operator)).with_graceful_shutdown(stopping.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "the local interface has ended");
            }
            remove(&path, made);
        });
    }
}

/// Takes away what would only be taken over by the next start, unless that has done so: then another proxy's socket lies there.
fn remove(path: &Path, made: Option<Stamp>) {
    if made.is_some() && Stamp::at(path) == made {
        let _ = fs::remove_file(path);
    }
}

/// Lets in whom the socket belongs to, and so many at a time.
struct Guarded {
    listener: UnixListener,
    owner: u32,
    places: Arc<Semaphore>,
}

impl axum::serve::Listener for Guarded {
    type Io = Admitted;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Admitted, SocketAddr) {
        loop {
            // Never closed.
            let Ok(place) = self.places.clone().acquire_owned().await else { return std::future::pending().await };
            let (stream, address) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accepting on the local interface failed");
                    sleep(BACK_OFF).await;
                    continue;
                }
            };
            match stream.peer_cred() {
                Ok(peer) if may_ask(peer.uid(), self.owner) => return (Layered::new(stream, place), address),
                Ok(peer) => tracing::warn!(user = peer.uid(), "somebody else tried to use the local interface"),
                Err(error) => tracing::warn!(%error, "somebody unknown tried to use the local interface"),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The proxy's own user, and who could read its memory anyway.
fn may_ask(user: u32, owner: u32) -> bool {
    user == owner || user == 0
}

/// A connection of an operator, and its place among them.
type Admitted = Layered<UnixStream, OwnedSemaphorePermit>;

#[cfg(test)]
mod tests {
    use axum::serve::Listener;

    use super::*;

    #[tokio::test]
    async fn the_socket_and_its_folder_are_the_operators_alone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");

        let socket = Socket::bind(&state, 1).await.unwrap().unwrap();

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&state), mode(&path(&state))), (0o700, 0o600));
        assert_eq!(socket.owner, fs::metadata(folder.path()).unwrap().uid());
    }

    #[tokio::test]
    async fn another_proxys_socket_is_not_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let old = Socket::bind(folder.path(), 1).await.unwrap().unwrap();
        fs::remove_file(&old.path).unwrap();
        let new = Socket::bind(folder.path(), 1).await.unwrap().unwrap();

        remove(&old.path, old.made);
        assert!(new.path.exists());
        remove(&new.path, new.made);
        assert!(!new.path.exists());
    }

    #[test]
    fn only_its_owner_may_ask() {
        assert!(may_ask(1000, 1000) && may_ask(0, 1000));
        assert!(!may_ask(1001, 1000) && !may_ask(1000, 0));
    }

    #[tokio::test]
    async fn so_many_operators_are_served_at_once_and_others_wait() {
        let folder = tempfile::tempdir().unwrap();
        let Socket { listener, path, owner, .. } = Socket::bind(folder.path(), 1).await.unwrap().unwrap();
        let mut guarded = Guarded { listener, owner, places: Arc::new(Semaphore::new(1)) };
        let (_first, _second) = (UnixStream::connect(&path).await.unwrap(), UnixStream::connect(&path).await.unwrap());
        let admitted = guarded.accept().await;

        let waits = tokio::select! { biased; _ = guarded.accept() => false, () = std::future::ready(()) => true };
        drop(admitted);

        assert!(waits);
        guarded.accept().await;
    }
}
