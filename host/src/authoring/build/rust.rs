//! Rust: cargo, for a target whose linker makes components.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::authoring::{
    slim::slim,
    tools::{Tools, octets, on_path},
};

/// What plugins are compiled for.
const TARGET: &str = "wasm32-wasip2";

pub(super) fn build(tools: &Tools<'_>) -> Result<Vec<u8>> {
    let cargo =
        on_path("cargo").context("cargo is not installed: install Rust 1.95 or newer with rustup (Debian: apt-get install rustup)")?;
    let sysroot = on_path("rustc").and_then(|rustc| tools.answer(rustc, &["--print", "sysroot"], &[]));
    let has_target = |sysroot: &String| Path::new(sysroot).join("lib/rustlib").join(TARGET).is_dir();
    ensure!(sysroot.as_ref().is_none_or(has_target), "Rust's library for {TARGET} is not installed: run `rustup target add {TARGET}`");
    let arguments = ["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"];
    let output = tools.command(cargo).args(arguments).stderr(std::io::stderr()).output().context("running cargo")?;
    ensure!(output.status.success(), "cargo failed ({}): what it said is above", output.status);
    let component =
        component(&output.stdout).context("cargo made no component: Cargo.toml needs `crate-type = [\"cdylib\", \"rlib\"]` under [lib]")?;
    slim(&octets(Path::new(&component), "cargo")?).context("leaving out of the component what nobody reads")
}

/// The last `.wasm` among cargo's messages, one JSON object a line: dependencies come first.
fn component(messages: &[u8]) -> Option<String> {
    let messages = messages.split(|octet| *octet == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let mut files = messages.filter_map(|message| {
        let names = message["filenames"].as_array()?;
        names.iter().filter_map(Value::as_str).find(|name| name.ends_with(".wasm")).map(str::to_owned)
    });
    files.next_back()
}
