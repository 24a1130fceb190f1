//! A compiler that fails costs the build it was to compile, and nothing else.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::plugin::{CacheFolder, Compiler};

/// A plan whose compiler is that script, with nothing in its cache.
fn compiled_by(script: &str) -> Plan {
    let mut plan = Plan::new();
    let program = plan.root.path().join("compiler");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("set");
    plan.settings.cache = CacheFolder::Kept(plan.root.path().join("cache"));
    plan.settings.compiler = Compiler::Program(program);
    plan.set("x", json!({}));
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_that_fails_refuses_the_build() {
    let table = [
        ("echo 'flowgate: no such instruction' >&2; exit 1", "it cannot be compiled: no such instruction"),
        ("kill -9 $$", "ended by signal 9"),
        ("head -c 8 > /dev/null", "what came of it cannot be used"),
    ];

    for (script, expected) in table {
        let mut bench = compiled_by(script).start().await;
        bench.swap("x", CHAMELEON);
        let said = bench.refused("x").await;
        assert!(said.contains(expected), "{said}");
        assert!(bench.hash("x").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_that_never_ends_is_broken_off() {
    let mut plan = compiled_by("exec sleep 1000");
    plan.settings.limits.compile = Duration::from_millis(200);
    let mut bench = plan.start().await;

    bench.swap("x", CHAMELEON);

    let said = bench.refused("x").await;
    assert!(said.contains("took longer than 200ms"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compiler_does_not_outlive_the_platform() {
    let bench = compiled_by("cd $(dirname $0); echo $$ > writing; mv writing number; exec sleep 1000").start().await;
    bench.swap("x", CHAMELEON);
    let number = async {
        loop {
            match fs::read_to_string(bench.root.path().join("number")) {
                Ok(number) => break number.trim().parse().expect("a number"),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let number = timeout(PATIENCE, number).await.expect("it compiles");
    let compiler = rustix::process::Pid::from_raw(number).expect("a process");

    bench.platform.close(PATIENCE).await;

    let gone = async {
        while rustix::process::test_kill_process(compiler).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.expect("it was ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_are_compiled_at_a_time_and_no_more() {
    // Each ends when it has met another; three at once leave a mark.
    let script = "cd $(dirname $0); touch running-$$; [ $(ls running-* | wc -l) -gt 2 ] && touch crowd
        while [ ! -e met ] && [ $(ls running-* | wc -l) -lt 2 ]; do sleep 0.01; done
        touch met; rm running-$$; echo 'flowgate: met' >&2; exit 1";
    let mut plan = compiled_by(script);
    for (number, name) in ["x", "y", "z"].into_iter().enumerate() {
        plan.set(name, json!({}));
        plan.put(name, &variant(100 + number as u8));
    }

    let bench = plan.start().await;

    for status in bench.platform.status().iter().filter(|status| status.name != "logger") {
        assert!(status.refused.as_ref().is_some_and(|why| why.contains("met")), "{status:?}");
    }
    assert!(!bench.root.path().join("crowd").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_is_refused_before_it_is_compiled() {
    let plan = compiled_by("exec sleep 1000").change("x", |own| own.grants = [Grant::Metrics].into());
    let mut bench = plan.start().await;

    bench.swap("x", CHAMELEON);

    let said = bench.refused("x").await;
    let lines = "grants = [\"key-value\", \"metrics\"] and outbound = [\"https://HOST\"]";
    assert!(said.contains("it imports key-value, outbound, which are not granted") && said.contains(lines), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_swapped_while_one_compiles_and_a_newer_file_makes_it_moot() {
    // The machine code of this one is there already.
    let bench = Plan::new().with("y", recording()).start().await;
    bench.platform.close(PATIENCE).await;
    let mut plan = compiled_by("exec sleep 1000");
    plan.settings.cache = CacheFolder::Kept(cache());
    plan.set("y", recording());
    let mut bench = plan.start().await;
    bench.swap("x", &variant(31));
    let loading = async {
        while !bench.platform.status().iter().any(|status| status.name == "x" && status.loading) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, loading).await.expect("it compiles");

    bench.swap("y", CHAMELEON);
    bench.live("y").await;
    assert!(bench.hash("x").is_none());

    bench.swap("x", b"no wasm at all");
    let said = bench.refused("x").await;
    assert!(said.contains("not WebAssembly"), "{said}");
}
