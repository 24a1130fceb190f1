//! Builds Rust guests of this workspace to components, from build scripts.
//!
//! Place: `build.rs` of what embeds or tests guests. Knows cargo and rustup; nothing of what the guests do.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// What guests are compiled for. rustc makes a component of it without another tool.
const TARGET: &str = "wasm32-wasip2";

/// Set for the outer build and wrong for the nested one: flags of another target, clippy in rustc's place, the folder whose lock the outer
/// cargo holds.
const OUTER: &[&str] = &[
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_BUILD_DIR",
    "CARGO_TARGET_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
];

/// Compiles a package of this workspace (a `cdylib`) and returns the path of its component, a file under `OUT_DIR`. To be called from a
/// build script; prints what that has to be run again for.
///
/// # Errors
/// Outside a build script; where the compilation target is missing and cannot be added; where the guest does not compile.
pub fn build(package: &str) -> Result<PathBuf> {
    let out = env::var_os("OUT_DIR").context("OUT_DIR is not set: guests are built from build scripts")?;
    build_into(package, Path::new(&out))
}

/// The same into a folder of the caller's choice.
///
/// # Errors
/// As for [`build`].
pub fn build_into(package: &str, out: &Path) -> Result<PathBuf> {
    let root = workspace()?;
    for shared in ["Cargo.toml", "Cargo.lock", "wit", "guest-sdk"] {
        println!("cargo::rerun-if-changed={}", root.join(shared).display());
    }
    ensure_target()?;

    let artifact = compile(package, &root, &nested_target_dir(out))?;
    println!("cargo::rerun-if-changed={}", artifact.folder.display());

    // Another build script may build the same guest meanwhile; what this one returns stays as it is.
    let component = out.join(format!("{package}.wasm"));
    fs::copy(&artifact.component, &component)
        .with_context(|| format!("copying {} to {}", artifact.component.display(), component.display()))?;
    Ok(component)
}

/// The folder with the contract and the lock file, above the package whose build script this is.
fn workspace() -> Result<PathBuf> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is not set")?);
    let root = package.ancestors().find(|folder| folder.join("Cargo.lock").is_file() && folder.join("wit").is_dir());
    root.map(Path::to_path_buf).with_context(|| format!("no workspace with a wit folder above {}", package.display()))
}

/// One target folder for the guests of all build scripts, beside the outer build's: dependencies are compiled once, and the nested cargo
/// waits for no lock that the outer one holds. `OUT_DIR` is `<profile>/build/<package>/out`.
fn nested_target_dir(out: &Path) -> PathBuf {
    let build = out.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "build"));
    build.and_then(Path::parent).unwrap_or(out).join("guests")
}

struct Artifact {
    component: PathBuf,
    /// Where the package's manifest is.
    folder: PathBuf,
}

fn compile(package: &str, root: &Path, target_dir: &Path) -> Result<Artifact> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root)
        .args(["build", "--locked", "--profile", "guest", "--target", TARGET, "--package", package])
        .args(["--message-format", "json-render-diagnostics", "--target-dir"])
        .arg(target_dir)
        // Set and empty: overrides what a machine's configuration says for its own processor and linker.
        .env("CARGO_ENCODED_RUSTFLAGS", "")
        .stdin(Stdio::null());
    for name in OUTER {
        cargo.env_remove(name);
    }
    let output = cargo.output().context("running cargo for a guest")?;
    if !output.status.success() {
        bail!("building the guest {package} failed ({})\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    artifact(package, &output.stdout).with_context(|| format!("{package} made no component: its crate-type must have \"cdylib\""))
}

/// Finds the package's `.wasm` among cargo's messages, one JSON object a line.
fn artifact(package: &str, messages: &[u8]) -> Option<Artifact> {
    messages.split(|octet| *octet == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok()).find_map(|message| {
        let manifest = Path::new(message["manifest_path"].as_str()?);
        let component = message["filenames"].as_array()?.iter().filter_map(Value::as_str).find(|name| name.ends_with(".wasm"))?;
        // A library's target is called as its package, with underscores.
        if message["target"]["name"].as_str()? != package.replace('-', "_") {
            return None;
        }
        Some(Artifact { component: component.into(), folder: manifest.parent()?.to_path_buf() })
    })
}

/// Adds the compilation target where it is missing.
fn ensure_target() -> Result<()> {
    let library = sysroot()?.join("lib/rustlib").join(TARGET).join("lib");
    if library.is_dir() {
        return Ok(());
    }
    let outcome = Command::new("rustup").args(["target", "add", TARGET]).stdin(Stdio::null()).output();
    // Two build scripts may add it at once, and one of them fails for it.
    if library.is_dir() {
        return Ok(());
    }
    let why = match outcome {
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("rustup cannot be run: {error}"),
    };
    bail!(
        "guests are compiled for {TARGET}, which is not installed and could not be added. \
         Run `rustup target add {TARGET}` (or install your distribution's Rust library for that target), then build again\n{why}"
    )
}

fn sysroot() -> Result<PathBuf> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc).args(["--print", "sysroot"]).output().with_context(|| format!("running {}", rustc.display()))?;
    ensure!(output.status.success(), "{} does not tell its sysroot: {}", rustc.display(), String::from_utf8_lossy(&output.stderr));
    let path = String::from_utf8(output.stdout).context("reading the path of rustc's sysroot")?;
    Ok(path.trim_end().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_share_a_target_folder_beside_the_outer_build() {
        assert_eq!(nested_target_dir(Path::new("/w/target/debug/build/host-1f/out")), Path::new("/w/target/debug/guests"));
        assert_eq!(nested_target_dir(Path::new("/elsewhere/out")), Path::new("/elsewhere/out/guests"));
    }

    #[test]
    fn the_component_is_found_among_cargos_messages() {
        let messages = br#"{"reason":"compiler-artifact","manifest_path":"/w/sdk/Cargo.toml","target":{"name":"sdk"},"filenames":["/w/libsdk.rlib"]}
{"reason":"compiler-artifact","manifest_path":"/w/plugins/a/Cargo.toml","target":{"name":"the_plugin"},"filenames":["/w/the_plugin.wasm","/w/libthe_plugin.rlib"]}
{"reason":"build-finished","success":true}
"#;

        let found = artifact("the-plugin", messages).expect("it is there");

        assert_eq!((found.component, found.folder), ("/w/the_plugin.wasm".into(), "/w/plugins/a".into()));
        assert!(artifact("sdk", messages).is_none());
    }
}
