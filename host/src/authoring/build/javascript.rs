//! JavaScript and TypeScript: the source, compiled to nothing, beside an engine that reads it at build time.

use std::fs;

use anyhow::{Context, Result};

use super::{Engine, workshop, world};
use crate::authoring::{
    contract::WORLD,
    tools::{Tools, absolute, octets},
};

/// The packages that bring SpiderMonkey, in a version that works as installed (1.35.0 does not), and what makes one module of a plugin's: of modules
/// that import each other jco finds only the first.
const JCO: &str = "@bytecodealliance/jco@1.34.0 esbuild@0.25.12";

/// Checks and compiles TypeScript first.
pub(super) fn checked(tools: &Tools<'_>, engine: Engine) -> Result<Vec<u8>> {
    let tsc = tools.npm("tsc")?;
    tools.run(&mut tools.command(absolute(&tsc)?), "tsc")?;
    build(tools, engine, "build/src/plugin.js")
}

pub(super) fn build(tools: &Tools<'_>, engine: Engine, entry: &str) -> Result<Vec<u8>> {
    // Says what is wrong with it better than the tools do.
    world(tools)?;
    let component = workshop(tools)?.join("component.wasm");
    if component.exists() {
        fs::remove_file(&component).with_context(|| format!("removing {}", component.display()))?;
    }
    match engine {
        Engine::Quickjs => {
            let program = absolute(&tools.npm("componentize-qjs")?)?;
            let mut command = tools.command(program);
            // Asynchronous functions, its default, are nothing the contract has.
            command.args(["--sync", "--wit", "wit", "-n", WORLD, "--js", entry, "-o"]).arg(&component);
            tools.run(&mut command, "componentize-qjs")?;
        }
        Engine::Starlingmonkey => {
            let program = |name: &str| {
                let program = tools.npm(name).with_context(|| {
                    format!("SpiderMonkey comes with jco: run `npm install --save-dev --save-exact {JCO}` in {}", tools.plugin.display())
                })?;
                absolute(&program)
            };
            let (jco, esbuild) = (program("jco")?, program("esbuild")?);
            let bundle = workshop(tools)?.join("bundle.js");
            let mut command = tools.command(esbuild);
            command.args([entry, "--bundle", "--format=esm", "--external:flowgate:*", "--log-level=warning"]);
            tools.run(command.arg(format!("--outfile={}", bundle.display())), "esbuild")?;
            let mut command = tools.command(jco);
            // Without these two the component imports wasi:http, which is not linked.
            command
                .arg("componentize")
                .arg(bundle)
                .args(["--wit", "wit", "-n", WORLD, "-d", "http", "-d", "fetch-event", "-o"])
                .arg(&component);
            tools.run(&mut command, "jco componentize")?;
        }
    }
    octets(&component, "the packager")
}
