//! What flows cost that does not depend on how busy a machine is: allocations, and calls into the system.
//!
//! A binary of its own: it counts what is allocated, and stands in the way of the calls that read from sockets and write to them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::Ipv4Addr,
    sync::Arc,
    thread,
};

use flowgate::{
    flow::{Authority, ClientAddr, Principal, Scope},
    hooks::{Hooks, Probe},
    plugin::{Grant, Platform, PluginSettings, Settings},
    record::{self, Writer},
};
use flowgate_testkit::{
    Origin, Script, Setup,
    client::{Client, request},
    guests::CHAMELEON,
    proxy::{Options, Proxy},
};
use http::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static READS: Cell<usize> = const { Cell::new(0) };
    static WRITES: Cell<usize> = const { Cell::new(0) };
}

/// Counts per thread: others go on meanwhile.
struct Counting;

#[allow(unsafe_code)]
// SAFETY: everything is the system's, called as this was.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, octets: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(octets, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[tokio::test]
async fn a_flow_nobody_wants_allocates_nothing() {
    let root = TempDir::new().unwrap();
    let at = |name: &str| root.path().join(name);
    let mut settings = Settings::new(at("plugins"), at("cache"), at("logs"));
    settings.plugins.insert("logger".into(), PluginSettings { enabled: false, ..PluginSettings::default() });
    std::fs::create_dir_all(&settings.folder).unwrap();
    for (name, hosts) in [("a", ["*.example.test"]), ("b", ["some.host.test"]), ("c", ["api.*"])] {
        let config = json!({ "name": name, "hosts": hosts, "paths": ["/v1/*"], "journal": "journal" }).to_string();
        let own = PluginSettings { config, grants: Grant::ALL.into(), required: true, ..PluginSettings::default() };
        settings.plugins.insert(name.into(), own);
        std::fs::write(settings.folder.join(format!("{name}.wasm")), CHAMELEON).unwrap();
    }
    let writer = Writer::start(record::Limits::default()).unwrap();
    let platform = Platform::start(settings, writer, Arc::new(())).await.unwrap();
    let scope = Scope { connection: 1, client: ClientAddr((Ipv4Addr::LOCALHOST, 1).into()), principal: Principal::UNKNOWN };
    let elsewhere = Authority::new("elsewhere.test", 443);
    let probe = |host, path: &'static [u8]| platform.open(&Probe { host, method: &Method::POST, path }).is_some();
    // What a thread needs once is not the flow's; and the counter counts.
    assert!(counted(|| probe("api.example.test", b"/v1/x")) > 0);

    for (host, path) in
        [("elsewhere.test", b"/v1/x".as_slice()), ("some.host.test", b"/other"), ("a.test.", b""), ("api.example.test", b"/v2")]
    {
        let allocations = counted(|| {
            assert!(!probe(host, path));
            platform.wants_host(host)
        });
        assert_eq!(allocations, 0, "{host}");
    }
    assert_eq!(counted(|| platform.connect(&scope, &elsewhere).is_some()), 0);
}

/// Requests over which costs are taken: what happens once, or once a second, is less than half of one for each.
const REQUESTS: usize = 200;
/// What each costs: read the request, pass it on, read the answer, pass it on. More is to be somebody's decision; less is to be written here.
const EACH: Costs = Costs { allocations: 20, reads: 2, writes: 2 };

#[tokio::test]
async fn a_request_on_a_kept_connection_costs_two_reads_two_writes_and_twenty_allocations() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let origin = Origin::start(Setup::http1(), |_| Script::raw(&answer[..])).await;
    let watched = Watched::start(Options::new().resolving("a.test:443", &origin)).await;
    let mut client = watched.client.h1("a.test:443").await.unwrap();
    let post = request("POST", "/v1/completions", "a.test", &[("content-type", "application/json"), ("x-request-id", "1")], b"{}");
    for _ in 0..REQUESTS {
        client.exchange(&post).await.unwrap();
    }

    let before = watched.costs().await;
    for _ in 0..REQUESTS {
        assert!(client.exchange(&post).await.unwrap().is_complete());
    }
    let after = watched.costs().await;

    let each = |cost: fn(&Costs) -> usize| (cost(&after) - cost(&before) + REQUESTS / 2) / REQUESTS;
    let costs =
        Costs { allocations: each(|costs| costs.allocations), reads: each(|costs| costs.reads), writes: each(|costs| costs.writes) };
    assert_eq!(costs, EACH);
}

/// A proxy in a thread of its own, which does nothing else.
struct Watched {
    client: Client,
    asking: mpsc::Sender<oneshot::Sender<Costs>>,
}

impl Watched {
    async fn start(options: Options) -> Self {
        let (asking, mut asked) = mpsc::channel::<oneshot::Sender<Costs>>(1);
        let (starting, started) = oneshot::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let proxy = Proxy::without_plugins(options).await;
                starting.send(proxy.client()).ok().unwrap();
                while let Some(answer) = asked.recv().await {
                    answer.send(Costs::so_far()).unwrap();
                }
            });
        });
        Self { client: started.await.unwrap(), asking }
    }

    /// Of its thread, so far.
    async fn costs(&self) -> Costs {
        let (answer, answered) = oneshot::channel();
        self.asking.send(answer).await.unwrap();
        answered.await.unwrap()
    }
}

/// Of one thread.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Costs {
    allocations: usize,
    /// Calls that read from a socket, whether something was there or not.
    reads: usize,
    /// Calls that write to one.
    writes: usize,
}

impl Costs {
    fn so_far() -> Self {
        Self { allocations: ALLOCATIONS.get(), reads: READS.get(), writes: WRITES.get() }
    }
}

/// What the standard library calls for sockets, in the place of the system's; each is counted and passed to a call that does the same.
#[allow(unsafe_code, reason = "they have the signatures of those they stand in the way of")]
mod sockets {
    use std::{
        cell::Cell,
        ffi::{c_int, c_void},
        ptr::null,
        thread::LocalKey,
    };

    use super::{READS, WRITES};

    unsafe extern "C" {
        fn recvfrom(socket: c_int, octets: *mut c_void, length: usize, flags: c_int, address: *const c_void, size: *const c_void) -> isize;
        fn sendto(socket: c_int, octets: *const c_void, length: usize, flags: c_int, address: *const c_void, size: u32) -> isize;
        fn pwritev2(file: c_int, slices: *const c_void, count: c_int, offset: i64, flags: c_int) -> isize;
    }

    fn count(calls: &'static LocalKey<Cell<usize>>) {
        calls.set(calls.get() + 1);
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn recv(socket: c_int, octets: *mut c_void, length: usize, flags: c_int) -> isize {
        count(&READS);
        // SAFETY: all of it is the caller's; an address is not asked for.
        unsafe { recvfrom(socket, octets, length, flags, null(), null()) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn send(socket: c_int, octets: *const c_void, length: usize, flags: c_int) -> isize {
        count(&WRITES);
        // SAFETY: all of it is the caller's; the address is the socket's.
        unsafe { sendto(socket, octets, length, flags, null(), 0) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn writev(file: c_int, slices: *const c_void, count_of_slices: c_int) -> isize {
        count(&WRITES);
        // SAFETY: all of it is the caller's; -1 is where the file is at.
        unsafe { pwritev2(file, slices, count_of_slices, -1, 0) }
    }
}

fn counted<T>(call: impl FnOnce() -> T) -> usize {
    let before = ALLOCATIONS.get();
    call();
    ALLOCATIONS.get() - before
}
