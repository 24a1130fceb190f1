//! A flow that no plugin wants costs no allocation for plugins.
//!
//! A binary of its own: it counts what is allocated.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::Ipv4Addr,
    sync::Arc,
};

use flowgate::{
    flow::{Authority, ClientAddr, Principal, Scope},
    hooks::{Hooks, Probe},
    plugin::{Grant, Platform, PluginSettings, Settings},
    record::{self, Writer},
};
use flowgate_testkit::guests::CHAMELEON;
use http::Method;
use serde_json::json;
use tempfile::TempDir;

thread_local!(static ALLOCATIONS: Cell<usize> = const { Cell::new(0) });

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

fn counted<T>(call: impl FnOnce() -> T) -> usize {
    let before = ALLOCATIONS.get();
    call();
    ALLOCATIONS.get() - before
}
