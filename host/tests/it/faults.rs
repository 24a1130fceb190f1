//! What breaks around the proxy: disks, descriptors, origins in the middle of an answer, and its own end under load.
//!
//! Processes with a small disk of their own take `unshare` and user namespaces; where a machine forbids them these tests fail and say so.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    os::fd::AsRawFd,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use flowgate::tasks::Tasks;
use flowgate_testkit::{
    Origin, Script, Setup,
    client::{H1, request},
    program::Program,
    proxy::{Options, Proxy},
    records::Records,
    within,
};
use tokio::{net::TcpStream, process::Command, time::interval};

use crate::copilot;

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");

/// A log folder of 1 MiB; what the proxy says goes to a file.
const SMALL_DISK: &str =
    r#"mkdir -p logs && exec unshare -rm sh -c 'mount -t tmpfs -o size=1m,mode=700 tmpfs logs && exec "$0" "$@" 2>diagnostics' "$0" "$@""#;

/// As few descriptors as a proxy can start with, and some.
const FEW_DESCRIPTORS: &str = r#"ulimit -n 100; exec "$0" "$@" 2>diagnostics"#;

/// The same at first, and more for whoever asks.
const SOME_DESCRIPTORS: &str = r#"ulimit -S -n 100; exec "$0" "$@""#;

struct Load {
    connection: H1,
    answered: usize,
}

impl Load {
    async fn of(program: &Program) -> Self {
        let client = program.client().with_user("ana", "");
        Self { connection: client.h1(&format!("{}:443", copilot::HOST)).await.unwrap(), answered: 0 }
    }

    /// So many flows that must not feel anything.
    async fn flows(&mut self, count: usize) {
        for _ in 0..count {
            let asked = copilot::completion(copilot::HOST, "1", &[b'x'; 2000]);
            let response = self.connection.exchange(asked).await.unwrap();
            assert_eq!((response.status(), response.text(), &response.trouble), (200, "ok".to_owned(), &None));
            self.answered += 1;
        }
    }
}

/// Waits until the diagnostics say that.
async fn said(folder: &Path, what: &str) {
    let mut looking = interval(Duration::from_millis(10));
    within(&format!("the line {what:?}"), async {
        while !fs::read_to_string(folder.join("diagnostics")).unwrap().contains(what) {
            looking.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_disk_that_is_full_or_read_only_costs_records_and_nothing_else() {
    let origin = Origin::start(Setup::http1(), |_| Script::ok("ok")).await;
    let resolve = format!("{}:443={}", copilot::HOST, origin.address());
    let program = Program::start_under(&["sh", "-c", SMALL_DISK], BINARY, &["--resolve", &resolve]).await;
    // The folder as the process sees it, for as long as this is open.
    let seen = format!("/proc/{}/root{}", program.id(), program.folder().canonicalize().unwrap().join("logs").display());
    let logs = File::open(&seen).unwrap();
    let records = Records::in_folder(format!("/proc/self/fd/{}", logs.as_raw_fd()));
    let mut load = Load::of(&program).await;

    load.flows(20).await;
    assert_eq!(records.after(20).await.len(), 20);

    remount(&program, "ro").await;
    load.flows(20).await;
    said(program.folder(), "records are being lost").await;
    remount(&program, "rw").await;
    let mut whole = until_recorded(&mut load, &records, 20).await;

    let filler = Path::new(&seen).join("filler");
    fill(&filler);
    load.flows(100).await;
    fs::remove_file(filler).unwrap();
    whole = until_recorded(&mut load, &records, whole).await;
    load.flows(20).await;
    records.after(whole + 20).await;

    let folder = program.folder().to_owned();
    let answered = load.answered;
    drop(load);
    let (code, _kept) = program.terminate().await;
    assert_eq!(code, Some(0), "{}", folder.display());
    let diagnostics = fs::read_to_string(folder.join("diagnostics")).unwrap();
    let lost: usize = diagnostics
        .lines()
        .find_map(|line| line.split("records were lost: ").nth(1))
        .and_then(|line| line.split(", ").nth(1)?.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("the loss is not said: {diagnostics}"));
    // Reading them panics where one is not whole.
    assert_eq!(records.all().len() + lost, answered, "each flow has its record or is counted as lost");
    assert_eq!(records.paths().len(), records.all().len(), "nothing half written is left");
    // By each of the threads that write, and one of them may have lost records in both times.
    assert!(diagnostics.contains("records are written again"), "{diagnostics}");
}

/// Flows until there is a record more than `before`; how many there are then.
async fn until_recorded(load: &mut Load, records: &Records, before: usize) -> usize {
    within("the first record again", async {
        loop {
            load.flows(1).await;
            let now = records.paths().iter().filter(|path| path.extension().is_some_and(|extension| extension == "json")).count();
            if now > before {
                return now;
            }
        }
    })
    .await
}

fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [4096, 1] {
        let full = loop {
            if let Err(error) = file.write_all(&vec![b'f'; size]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    }
}

async fn remount(program: &Program, how: &str) {
    let id = program.id().to_string();
    let logs = program.folder().canonicalize().unwrap().join("logs");
    let mut command = Command::new("nsenter");
    command.args(["--target", &id, "--user", "--mount", "mount", "-o", &format!("remount,bind,{how}")]).arg(logs);
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    assert!(output.status.success(), "remounting {how}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_log_folder_that_is_removed_is_made_again() {
    let origin = Origin::saying("ok").await;
    let target = format!("{}:443", copilot::HOST);
    let proxy = Proxy::start(Options::new().resolving(&target, &origin)).await;
    let mut connection = proxy.client().h1(&target).await.unwrap();
    connection.exchange(copilot::completion(copilot::HOST, "1", b"{}")).await.unwrap();
    proxy.records().after(1).await;

    fs::remove_dir_all(&proxy.config().logs_dir).unwrap();
    connection.exchange(copilot::completion(copilot::HOST, "2", b"{}")).await.unwrap();

    assert_eq!(proxy.records().only().await.request_field("x-request-id"), Some("2"));
}

#[tokio::test]
async fn descriptors_that_run_out_are_waited_for() {
    let origin = Origin::saying("ok").await;
    let program = Program::start_under(&["sh", "-c", FEW_DESCRIPTORS], BINARY, &["--intercept", "*"]).await;
    let mut early = program.client().h1(&origin.authority()).await.unwrap();
    let asked = || request("GET", "/", &origin.authority(), &[], b"");
    assert_eq!(early.exchange(asked()).await.unwrap().text(), "ok");

    let mut idle = Vec::new();
    for _ in 0..150 {
        idle.push(TcpStream::connect(program.address()).await.unwrap());
    }
    said(program.folder(), "allow it more (ulimit -n").await;
    let meanwhile = early.exchange(asked()).await.unwrap();
    drop(idle);
    let afterwards = program.client().get(&origin.root()).await.unwrap();

    assert_eq!((meanwhile.text(), afterwards.text()), ("ok".to_owned(), "ok".to_owned()));
    assert_eq!(program.terminate().await.0, Some(0));
}

#[tokio::test]
async fn descriptors_that_may_be_had_are_had() {
    let origin = Origin::start(Setup::http1(), |_| Script::ok("ok")).await;
    let program = Program::start_under(&["sh", "-c", SOME_DESCRIPTORS], BINARY, &["--intercept", "*"]).await;

    let mut idle = Vec::new();
    for _ in 0..150 {
        idle.push(TcpStream::connect(program.address()).await.unwrap());
    }
    // Behind all of them in the queue.
    let response = program.client().get(&origin.root()).await.unwrap();

    assert_eq!((response.text(), idle.len()), ("ok".to_owned(), 150));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_cuts_nothing_off_and_loses_no_record() {
    const CLIENTS: usize = 8;
    const BEFORE: usize = 100;
    let origin = Origin::start(Setup::http1(), |_| Script::new(200).chunked().data("data: x\n\n").data("data: [DONE]\n\n")).await;
    let resolve = format!("{}:443={}", copilot::HOST, origin.address());
    let program = Program::start(BINARY, &["--resolve", &resolve]).await;
    let (tasks, next) = (Tasks::new(), Arc::new(AtomicUsize::new(0)));
    let (answered, cut) = (Arc::new(Mutex::new(BTreeSet::new())), Arc::new(AtomicUsize::new(0)));
    for _ in 0..CLIENTS {
        let (client, next, answered, cut) = (program.client(), next.clone(), answered.clone(), cut.clone());
        tasks.spawn(async move {
            // A new connection for every few, until there is none to be had.
            while let Ok(mut connection) = client.h1(&format!("{}:443", copilot::HOST)).await {
                for _ in 0..5 {
                    let id = next.fetch_add(1, Ordering::Relaxed).to_string();
                    match connection.exchange(copilot::completion(copilot::HOST, &id, b"{}")).await {
                        Ok(response) if response.is_complete() && response.status() == 200 => drop(answered.lock().unwrap().insert(id)),
                        Ok(_) => drop(cut.fetch_add(1, Ordering::Relaxed)),
                        Err(_) => break,
                    }
                }
            }
        });
    }
    program.records().after(BEFORE).await;

    let (code, folder) = program.terminate().await;
    within("the end of the load", tasks.ended(flowgate_testkit::PATIENCE)).await;

    assert_eq!((code, cut.load(Ordering::Relaxed)), (Some(0), 0));
    let records = Records::in_folder(folder.path().join("logs")).all();
    let recorded: BTreeSet<String> = records.iter().filter_map(|record| record.request_field("x-request-id").map(str::to_owned)).collect();
    let missing: Vec<String> = answered.lock().unwrap().difference(&recorded).cloned().collect();
    assert!(missing.is_empty(), "answered and not recorded: {missing:?}");
}

#[tokio::test]
async fn an_origin_that_resets_at_any_stage_harms_its_own_flow_only() {
    let stages: [(&str, &str); 8] = [
        ("before its head", ""),
        ("in its head", "HTTP/1.1 200 OK\r\nContent-"),
        ("behind an interim response", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("behind its head", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        ("in its content", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        ("in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf"),
        ("behind a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        ("in its trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX-"),
    ];
    let origin = Origin::start(Setup::http1(), move |seen| match seen.target.trim_start_matches('/').parse::<usize>() {
        Ok(stage) => Script::raw(stages[stage].1).reset(),
        Err(_) => Script::ok("whole"),
    })
    .await;
    let proxy = Proxy::without_plugins(Options::new()).await;
    let asked = |path: &str| request("GET", path, &origin.authority(), &[], b"");
    let mut neighbour = proxy.client().h1(&origin.authority()).await.unwrap();

    for (at, (stage, _)) in stages.iter().enumerate() {
        let mut client = proxy.client().h1(&origin.authority()).await.unwrap();
        match client.exchange(asked(&format!("/{at}"))).await {
            Ok(response) => assert!(response.status() == 502 || !response.is_complete(), "{stage}: {response:?}"),
            Err(failure) => assert!(at > 2, "{stage}: {failure}"),
        }
        assert_eq!(neighbour.exchange(asked("/whole")).await.unwrap().text(), "whole", "{stage}");
    }
}

#[tokio::test]
async fn what_an_idle_connection_no_longer_takes_is_sent_once_more() {
    // The second request to come finds its connection reset.
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let origin = Origin::start(Setup::http1(), move |_| match counted.fetch_add(1, Ordering::Relaxed) {
        1 => Script::raw("").reset(),
        _ => Script::ok("whole"),
    })
    .await;
    for (method, status, requests) in [("GET", 200, 3), ("POST", 502, 2)] {
        asked.store(0, Ordering::Relaxed);
        let proxy = Proxy::without_plugins(Options::new()).await;
        let mut client = proxy.client().h1(&origin.authority()).await.unwrap();
        let request = || request(method, "/", &origin.authority(), &[], b"");
        assert_eq!(client.exchange(request()).await.unwrap().status(), 200);

        let second = client.exchange(request()).await.unwrap();

        assert_eq!((second.status(), asked.load(Ordering::Relaxed)), (status, requests), "{method}");
    }
}
