//! `cargo xtask release`: the release build, optimised by a profile of what it does under load.
//!
//! Place: for who packages the proxy; nothing else needs it. The profile is made of what the benchmarks and the soak do, so it is that of plugins
//! and of HTTP/2, too. Source: the rustc book, chapter "Profile-guided Optimization".

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

use crate::{bench, cargo, long, target_folder, to_its_end};

/// How long mixed traffic passes while it counts.
const SOAK_MINUTES: f64 = 0.5;
/// Functions that a build has in common with its profile at least; there are some ten thousand.
const LEAST_KNOWN: usize = 1000;

pub(crate) fn run() -> anyhow::Result<()> {
    // Said before the build that it takes to come to the benchmarks.
    bench::enough_cpus()?;
    let (host, folder) = (host()?, target_folder().join("guided"));
    let tools = tools(&host)?;
    let (counts, profile) = (folder.join("counts"), folder.join("flowgate.profdata"));
    // Those of another state of the sources are worth nothing.
    if counts.exists() {
        fs::remove_dir_all(&counts).with_context(|| format!("removing {}", counts.display()))?;
    }
    fs::create_dir_all(&counts).with_context(|| format!("making {}", counts.display()))?;

    // With link-time optimisation, too, though counting comes before it: functions have other names in a build of another kind.
    let counting = build(&host, &folder.join("counting"), "generate", &counts)?;
    bench::exercise(&counting)?;
    long::soak(&long::Soaking { minutes: SOAK_MINUTES, binary: Some(counting) })?;
    let counted = fs::read_dir(&counts)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<PathBuf>>>()?;
    ensure!(!counted.is_empty(), "nothing was counted in {}", counts.display());
    to_its_end(Command::new(tools.join("llvm-profdata")).arg("merge").arg("--output").arg(&profile).args(counted))?;

    let guided = build(&host, &folder.join("build"), "use", &profile)?;
    let known = known(&tools, &profile, &guided)?;
    ensure!(
        known >= LEAST_KNOWN,
        "of what was counted only {known} functions are in the build: it was made otherwise, and the profile is not used"
    );
    let place = folder.join("flowgate");
    fs::copy(&guided, &place).with_context(|| format!("copying {} to {}", guided.display(), place.display()))?;
    println!("{}", place.display());
    Ok(())
}

/// A release build in that folder, and the program.
fn build(host: &str, folder: &Path, what: &str, with: &Path) -> anyhow::Result<PathBuf> {
    let mut flags: Vec<OsString> = std::env::var("RUSTFLAGS").unwrap_or_default().split_whitespace().map(OsString::from).collect();
    let mut flag = OsString::from(format!("-Cprofile-{what}="));
    flag.push(with);
    flags.push(flag);
    // With a target, flags are not those of build scripts and of macros.
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--package", "flowgate", "--bin", "flowgate", "--target", host, "--target-dir"]);
    command.arg(folder).env("CARGO_ENCODED_RUSTFLAGS", flags.join(&OsString::from("\u{1f}")));
    to_its_end(&mut command)?;
    Ok(folder.join(host).join("release/flowgate"))
}

/// How many functions in the program are called as in the profile.
fn known(tools: &Path, profile: &Path, program: &Path) -> anyhow::Result<usize> {
    let counted = said(Command::new(tools.join("llvm-profdata")).args(["show", "--all-functions"]).arg(profile))?;
    let counted: BTreeSet<&str> = counted.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':')).collect();
    let there = said(Command::new(tools.join("llvm-nm")).arg(program))?;
    Ok(there.lines().filter_map(|line| line.rsplit(' ').next()).filter(|name| counted.contains(name)).count())
}

/// What this machine is, as rustc calls it.
fn host() -> anyhow::Result<String> {
    let about = said(Command::new(rustc()).arg("-vV"))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say for what it builds")
}

/// Where the programs of LLVM are: a component of the toolchain, which is installed if it is missing.
fn tools(host: &str) -> anyhow::Result<PathBuf> {
    let sysroot = PathBuf::from(said(Command::new(rustc()).args(["--print", "sysroot"]))?.trim_end());
    let tools = sysroot.join("lib/rustlib").join(host).join("bin");
    let is_there = || ["llvm-profdata", "llvm-nm"].iter().all(|program| tools.join(program).is_file());
    if !is_there() {
        let installed = to_its_end(Command::new("rustup").args(["component", "add", "llvm-tools"]));
        installed.context("the toolchain has no llvm-profdata, and rustup cannot install it: add its component llvm-tools by hand")?;
    }
    ensure!(is_there(), "there are no llvm-profdata and llvm-nm in {}", tools.display());
    Ok(tools)
}

fn rustc() -> OsString {
    std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("reading what {command:?} says"))
}
