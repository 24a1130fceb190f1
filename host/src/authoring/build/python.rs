//! Python: the modules in `src`, imported at build time, beside CPython.

use std::fs;

use anyhow::{Context, Result};

use super::{workshop, world};
use crate::authoring::{
    contract::WORLD,
    tools::{Tools, octets},
};

pub(super) fn build(tools: &Tools<'_>) -> Result<Vec<u8>> {
    world(tools)?;
    let component = workshop(tools)?.join("component.wasm");
    if component.exists() {
        fs::remove_file(&component).with_context(|| format!("removing {}", component.display()))?;
    }
    let mut command = tools.command(tools.pip("componentize-py")?);
    command.args(["-d", "wit", "-w", WORLD, "componentize", "-p", "src", "app", "-o"]).arg(&component);
    tools.run(&mut command, "componentize-py")?;
    octets(&component, "componentize-py")
}
