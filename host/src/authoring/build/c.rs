//! C: clang with wasi-libc, or zig, make a core module, which is packed here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{GENERATED, bind, workshop};
use crate::authoring::{
    language::Language,
    pack::{Described, pack},
    tools::{Tools, first_on_path, octets, on_path},
};

/// Where distributions put wasi-libc.
const HEADERS: &str = "/usr/include/wasm32-wasi";
/// clang finds its linker under this name; versioned packages of Debian call it otherwise.
const LINKERS: [&str; 7] = ["wasm-ld", "wasm-ld-21", "wasm-ld-20", "wasm-ld-19", "wasm-ld-16", "wasm-ld-15", "wasm-ld-14"];
const CLANGS: [&str; 7] = ["clang", "clang-21", "clang-20", "clang-19", "clang-16", "clang-15", "clang-14"];

/// What every compiler is told. Names stay, so that a trap's backtrace can be read; a small stack, for zig reserves 16 MB otherwise.
const FLAGS: [&str; 9] =
    ["-mexec-model=reactor", "-O2", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Isrc", "-Igen", "-Wl,--strip-debug", "-Wl,-z,stack-size=65536"];

pub(super) fn build(tools: &Tools<'_>) -> Result<Vec<u8>> {
    bind(tools, Language::C)?;
    let module = workshop(tools)?.join("core.wasm");
    let (mut command, name) = compiler(tools)?;
    command.args(FLAGS).args(sources(tools.plugin)?).arg("-o").arg(&module);
    tools.run(&mut command, name)?;
    // The bindings' object file describes the module.
    pack(&octets(&module, name)?, Described::ByItself).with_context(|| format!("packing the module that {name} made"))
}

/// Everything to compile and link in `src` and the bindings, as seen from the folder, in order.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for place in ["src", GENERATED] {
        let entries = fs::read_dir(folder.join(place)).with_context(|| format!("reading {}", folder.join(place).display()))?;
        for entry in entries {
            let name = entry.with_context(|| format!("reading {place}"))?.file_name();
            if Path::new(&name).extension().is_some_and(|ending| ending == "c" || ending == "o") {
                sources.push(Path::new(place).join(name));
            }
        }
    }
    sources.sort();
    Ok(sources)
}

/// The author's clang if it has all it needs, the author's zig, or what the folder pins.
fn compiler(tools: &Tools<'_>) -> Result<(Command, &'static str)> {
    if let (Some(clang), Some(linker), true) = (first_on_path(&CLANGS), first_on_path(&LINKERS), Path::new(HEADERS).is_dir()) {
        let mut command = tools.command(clang);
        command.args(["--target=wasm32-wasi", "-isystem", HEADERS]).arg(format!("-fuse-ld={}", linker.display()));
        return Ok((command, "clang"));
    }
    let mut command = match on_path("zig") {
        Some(zig) => tools.command(zig),
        None if tools.has_requirements() => tools.command(tools.pip("python-zig")?),
        None => bail!(
            "no C compiler for WebAssembly is installed: install clang with wasi-libc (Debian: apt-get install clang lld wasi-libc \
             libclang-rt-dev-wasm32), or zig, or put `ziglang==0.17.1` into requirements.txt to have zig from PyPI"
        ),
    };
    command.args(["cc", "-target", "wasm32-wasi"]);
    Ok((command, "zig"))
}
