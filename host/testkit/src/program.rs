//! The proxy's real binary, as an operator runs it.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::Path,
    process::{Output, Stdio},
    sync::{Arc, Mutex},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

use crate::{certificates::Authority, client::Client, patience::within, records::Records};

/// A running binary; killed when dropped.
pub struct Program {
    child: Child,
    address: SocketAddr,
    root_pem: String,
    folder: TempDir,
    said: Arc<Mutex<String>>,
    hearing: Vec<JoinHandle<()>>,
}

/// A command that knows nothing of the machine it runs on: no configuration, no environment, and that working directory.
pub fn command(binary: &str, folder: &Path) -> Command {
    let mut command = Command::new(binary);
    command.current_dir(folder).env_clear().env("HOME", folder).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs to the end.
///
/// # Errors
/// The system cannot run it.
pub async fn output(command: &mut Command) -> io::Result<Output> {
    within("the end of the command", command.output()).await
}

/// A command that gets a listening socket as a service manager passes it, under that name.
pub fn passing(socket: TcpListener, name: &str, binary: &str, folder: &Path) -> Command {
    // The shell becomes the program, so that the process the socket is for is that one.
    const PASS: &str = r#"export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" "$@" 3<&0 0</dev/null"#;
    let mut passing = command("/bin/sh", folder);
    passing.args(["-c", PASS, binary]).env("LISTEN_FDNAMES", name).stdin(Stdio::from(OwnedFd::from(socket)));
    passing
}

impl Program {
    /// `flowgate run` on a free port in a folder of its own, trusting the kit's origins.
    ///
    /// # Panics
    /// Where it ends, or says no address, before it accepts.
    pub async fn start(binary: &str, arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("the system has a place for temporary folders"), binary, arguments).await
    }

    /// The same in a folder that another one left behind.
    ///
    /// # Panics
    /// As for [`Program::start`].
    pub async fn start_in(folder: TempDir, binary: &str, arguments: &[&str]) -> Self {
        Self::start_with(folder, binary, arguments, &[]).await
    }

    /// The same with those variables, `RUST_LOG` above all.
    ///
    /// # Panics
    /// As for [`Program::start`].
    pub async fn start_with(folder: TempDir, binary: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command(binary, folder.path());
        command.envs(variables.iter().copied());
        Self::launch(folder, command, arguments).await
    }

    /// In a folder of its own, as `under` runs what is put behind it: `["sh", "-c", SCRIPT]`, where SCRIPT ends in `exec "$0" "$@"`.
    ///
    /// # Panics
    /// As for [`Program::start`].
    pub async fn start_under(under: &[&str], binary: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("the system has a place for temporary folders");
        let (first, rest) = under.split_first().expect("a program");
        let mut command = command(first, folder.path());
        command.args(rest).arg(binary);
        Self::launch(folder, command, arguments).await
    }

    /// In a folder of its own, with a listening socket from a service manager, and those variables.
    ///
    /// # Panics
    /// As for [`Program::start`].
    pub async fn start_on(socket: TcpListener, name: &str, binary: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("the system has a place for temporary folders");
        let mut command = passing(socket, name, binary, folder.path());
        command.envs(variables.iter().copied());
        Self::launch(folder, command, arguments).await
    }

    async fn launch(folder: TempDir, mut command: Command, arguments: &[&str]) -> Self {
        std::fs::write(folder.path().join("origins.pem"), Authority::shared().pem()).expect("the folder can be written to");
        let own = [
            "run",
            "--listen",
            "127.0.0.1:0",
            "--state",
            "state",
            "--logs",
            "logs",
            "--plugins",
            "plugins",
            "--upstream-ca",
            "origins.pem",
        ];
        let mut child =
            command.args(own).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary can be run");
        let (stdout, stderr) = (child.stdout.take().expect("it is a pipe"), child.stderr.take().expect("it is a pipe"));
        let said = Arc::new(Mutex::new(String::new()));
        let (address, hearing) = within("the line that says where the proxy listens", listening(stdout, stderr, &said)).await;
        let root_pem = root(&folder.path().join("state"));
        Self { child, address, root_pem, folder, said, hearing }
    }

    /// The process.
    ///
    /// # Panics
    /// Where it has ended.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// A client that trusts its root.
    pub fn client(&self) -> Client {
        Client::through(self.address, &self.root_pem)
    }

    /// Its root certificate.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// What it recorded.
    pub fn records(&self) -> Records {
        Records::in_folder(self.folder.path().join("logs"))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The working directory, with everything it reads and writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Another command of the same binary, in the same folder and about the same state, and what it printed.
    ///
    /// # Panics
    /// Where the system cannot run it.
    pub async fn command(&self, binary: &str, arguments: &[&str]) -> Output {
        output(command(binary, self.folder.path()).args(arguments).args(["--state", "state"])).await.expect("the binary can be run")
    }

    /// SIGHUP.
    ///
    /// # Panics
    /// Where it has ended.
    pub async fn hang_up(&self) {
        self.signal("-HUP").await;
    }

    /// SIGTERM, and nothing is waited for.
    ///
    /// # Panics
    /// Where it has ended.
    pub async fn ask_to_end(&self) {
        self.signal("-TERM").await;
    }

    async fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.id().to_string()]).status().await.expect("there is kill");
        assert!(sent.success());
    }

    /// SIGKILL: nothing it holds is saved.
    pub async fn kill(mut self) -> TempDir {
        within("the end of the killed process", self.child.kill()).await.expect("it runs");
        self.folder
    }

    /// SIGTERM, and all that it has said on both streams.
    pub async fn terminate_and_hear(mut self) -> String {
        self.signal("-TERM").await;
        within("the end of the terminated process", async {
            self.child.wait().await.expect("it ran");
            for hearing in self.hearing {
                hearing.await.expect("reading does not panic");
            }
        })
        .await;
        std::mem::take(&mut *self.said.lock().expect("nobody panics with it"))
    }

    /// SIGTERM, and how it ended.
    pub async fn terminate(mut self) -> (Option<i32>, TempDir) {
        self.signal("-TERM").await;
        let status = within("the end of the terminated process", self.child.wait()).await.expect("it ran");
        (status.code(), self.folder)
    }
}

/// Reads both streams, for ever (a full pipe would stop the proxy), and returns the first address on one of them.
async fn listening(
    stdout: impl AsyncRead + Send + Unpin + 'static,
    stderr: impl AsyncRead + Send + Unpin + 'static,
    said: &Arc<Mutex<String>>,
) -> (SocketAddr, Vec<JoinHandle<()>>) {
    let (found, mut address) = tokio::sync::mpsc::channel(1);
    let tasks = flowgate::tasks::Tasks::new();
    let hearing = vec![tasks.spawn(drain(stdout, found.clone(), said.clone())), tasks.spawn(drain(stderr, found, said.clone()))];
    (address.recv().await.expect("the proxy ended before it listened"), hearing)
}

async fn drain(stream: impl AsyncRead + Unpin, found: tokio::sync::mpsc::Sender<SocketAddr>, said: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        eprintln!("{line}");
        {
            let mut said = said.lock().expect("nobody panics with it");
            said.push_str(&line);
            said.push('\n');
        }
        if let Some(address) = address(&line) {
            let _ = found.try_send(address);
        }
    }
}

/// The first `127.0.0.1:PORT` in a line.
fn address(line: &str) -> Option<SocketAddr> {
    let from = &line[line.find("127.0.0.1:")?..];
    let end = from.find(|sign: char| !sign.is_ascii_digit() && sign != '.' && sign != ':').unwrap_or(from.len());
    from[..end].trim_end_matches(['.', ':']).parse().ok()
}

/// The PEM file with a certificate and without a key.
fn root(state: &Path) -> String {
    let files = std::fs::read_dir(state).expect("the state folder is there").flatten();
    let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    texts
        .into_iter()
        .find(|text| text.contains("BEGIN CERTIFICATE") && !text.contains("PRIVATE KEY"))
        .expect("the root is in the state folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_prose() {
        let cases = [
            ("listening on 127.0.0.1:4711", Some(4711)),
            ("proxy at http://127.0.0.1:80/, have fun", Some(80)),
            ("\u{1b}[32m127.0.0.1:9\u{1b}[0m", Some(9)),
            ("127.0.0.1:", None),
            ("nothing", None),
        ];
        for (line, port) in cases {
            assert_eq!(address(line).map(|address| address.port()), port, "{line}");
        }
    }
}
