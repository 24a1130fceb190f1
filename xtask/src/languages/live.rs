//! A proxy that runs, a folder that a newcomer copies plugins into, and traffic that shows what they do.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::bench::process::Proxy;

/// How long an effect may be waited for: large components are compiled with low priority, and a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often traffic looks for it: seldom enough not to be what the compilation waits for.
const LOOK: Duration = Duration::from_millis(100);

/// The proxy, and an origin behind it.
pub(super) struct Live {
    proxy: SocketAddr,
    origin: SocketAddr,
    folder: TempDir,
    _running: Proxy,
}

impl Live {
    /// Starts both, without any plugin.
    pub(super) fn start(flowgate: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("making a folder for a proxy")?;
        fs::create_dir(folder.path().join("plugins")).context("making the plugins' folder")?;
        let origin = TcpListener::bind("127.0.0.1:0").context("listening as an origin")?;
        let address = origin.local_addr().context("listening as an origin")?;
        thread::spawn(move || origin.incoming().flatten().for_each(answer));
        let mut command = Command::new(flowgate);
        command.current_dir(folder.path()).env("RUST_LOG", "warn").args(["run", "--listen", "127.0.0.1:0"]);
        command.args(["--plugins", "plugins", "--state", "state", "--logs", "logs"]);
        let (running, proxy) = Proxy::start_anywhere(command)?;
        Ok(Self { proxy, origin: address, folder, _running: running })
    }

    /// How long it takes from copying a component until a request gets what the plugin answers. Taken out again, it answers no more.
    pub(super) fn shows(&self, component: &Path, name: &str) -> Result<Duration> {
        let place = self.plugins().join(format!("{name}.wasm"));
        let answer = format!("refused by {name}");
        ensure!(!self.ask()?.contains(&answer), "{name} answers before it is there");
        let begin = Instant::now();
        fs::copy(component, &place).with_context(|| format!("copying {}", component.display()))?;
        self.until(&format!("{name} answers"), |said| said.starts_with("HTTP/1.1 403 ") && said.contains(&answer))?;
        let took = begin.elapsed();
        fs::remove_file(&place).with_context(|| format!("removing {}", place.display()))?;
        self.until(&format!("{name} answers no more"), |said| said.starts_with("HTTP/1.1 200 "))?;
        Ok(took)
    }

    fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    fn until(&self, what: &str, such: impl Fn(&str) -> bool) -> Result<()> {
        let begin = Instant::now();
        loop {
            let said = self.ask()?;
            if such(&said) {
                return Ok(());
            }
            ensure!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}; the last answer was {said:?}");
            thread::sleep(LOOK);
        }
    }

    /// Everything that comes back of a request to the path that new plugins refuse.
    fn ask(&self) -> Result<String> {
        let origin = self.origin;
        let request = format!("GET http://{origin}/upload HTTP/1.1\r\nHost: {origin}\r\nConnection: close\r\n\r\n");
        let mut stream = TcpStream::connect(self.proxy).context("connecting to the proxy")?;
        stream.set_read_timeout(Some(PATIENCE)).context("bounding how long an answer may take")?;
        stream.write_all(request.as_bytes()).context("asking through the proxy")?;
        let mut said = String::new();
        stream.read_to_string(&mut said).context("hearing the answer")?;
        Ok(said)
    }
}

/// What an origin says to everything. A client that goes early is no matter.
fn answer(mut stream: TcpStream) {
    let (mut head, mut some) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut some) {
            Ok(0) | Err(_) => return,
            Ok(count) => head.extend_from_slice(&some[..count]),
        }
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n");
}
