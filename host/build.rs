//! Builds the default plugin for WebAssembly, and makes the table of what new plugins begin with, so that the binary carries both.

use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let component = flowgate_guests::build("flowgate-logger")?;
    println!("cargo::rustc-env=FLOWGATE_LOGGER_WASM={}", component.display());
    templates()
}

/// `FILES`: path and text of every file below `templates`, and of the Rust SDK's sources under `sdk/`.
fn templates() -> anyhow::Result<()> {
    let own = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is not set")?);
    let mut table = String::from("const FILES: &[(&str, &str)] = &[\n");
    for (folder, prefix) in [("templates", ""), ("../guest-sdk/src", "sdk/")] {
        let folder = own.join(folder);
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut files = Vec::new();
        walk(&folder, &mut files).with_context(|| format!("reading {}", folder.display()))?;
        files.sort();
        for file in files {
            let path = file.strip_prefix(&folder).context("it lies below the folder")?;
            writeln!(table, "    ({:?}, include_str!({:?})),", format!("{prefix}{}", path.display()), file)?;
        }
    }
    table.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    fs::write(out.join("templates.rs"), table).context("writing the table of templates")
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { walk(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
