//! `flowgate plugin build`: a plugin's folder to its component, by the language's own tools.
//!
//! Place: one file a language; each returns the component's octets. The component appears whole in the folder, or not at all.

mod c;
mod go;
mod javascript;
mod python;
mod rust;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::{
    bindings,
    contract::{WORLD, World},
    language::Language,
    manifest::Manifest,
    tools::Tools,
};

/// Where generated bindings are, and what is made on the way.
const GENERATED: &str = "gen";
/// Where what is made on the way is.
const WORKSHOP: &str = "build";

/// What runs JavaScript inside the component.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Engine {
    /// Small and quick to build; the default
    Quickjs,
    /// SpiderMonkey, by way of jco: 12 MB, slow to compile, with more of the web's interfaces
    Starlingmonkey,
}

/// What is to be built.
#[derive(Debug)]
pub struct Order<'a> {
    /// The plugin's folder.
    pub folder: &'a Path,
    /// Where tools are installed; `None`: into the folder itself.
    pub tools: Option<&'a Path>,
    /// For JavaScript and TypeScript.
    pub engine: Engine,
}

/// What was built.
#[derive(Debug)]
pub struct Built {
    /// `NAME.wasm` in the folder.
    pub component: PathBuf,
    /// Its size in octets.
    pub octets: usize,
}

/// Builds it. `say` is told what is installed before it is.
///
/// # Errors
/// Where the folder is no plugin's, a tool is missing (says which, and how to get it), or a tool fails.
pub fn build(order: &Order<'_>, say: &dyn Fn(&str)) -> Result<Built> {
    let Order { folder, tools, engine } = *order;
    ensure!(folder.is_dir(), "{} is no folder", folder.display());
    let manifest = Manifest::of(folder)?;
    let tools = Tools { plugin: folder, place: tools.unwrap_or(folder), say };
    let octets = match manifest.language {
        Language::Rust => rust::build(&tools)?,
        Language::Javascript => javascript::build(&tools, engine, "src/plugin.js")?,
        Language::Typescript => javascript::checked(&tools, engine)?,
        Language::Python => python::build(&tools)?,
        Language::Go => go::build(&tools)?,
        Language::C => c::build(&tools)?,
    };
    let component = folder.join(format!("{}.wasm", manifest.name));
    replace(&component, &octets)?;
    Ok(Built { component, octets: octets.len() })
}

/// Brings the bindings in line with the WIT; files that are right already keep their time.
fn bind(tools: &Tools<'_>, language: Language) -> Result<()> {
    let folder = tools.plugin.join(GENERATED);
    for (path, text) in bindings::generate(language, world(tools)?)? {
        let path = folder.join(path);
        if fs::read(&path).is_ok_and(|present| present == text) {
            continue;
        }
        fs::create_dir_all(path.parent().unwrap_or(&folder)).with_context(|| format!("making {}", folder.display()))?;
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// The plugin's own world.
fn world(tools: &Tools<'_>) -> Result<World> {
    let wit = tools.plugin.join("wit");
    ensure!(wit.is_dir(), "{} is not there: `flowgate plugin new` shows what it holds", wit.display());
    World::of_folder(&wit, WORLD)
}

/// A path below the folder for what is made on the way, which is there.
fn workshop(tools: &Tools<'_>) -> Result<PathBuf> {
    let folder = tools.plugin.join(WORKSHOP);
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    super::tools::absolute(&folder)
}

/// Puts a file in its place, whole.
fn replace(path: &Path, octets: &[u8]) -> Result<()> {
    let aside = path.with_extension(format!("wasm.{}", process::id()));
    let done = fs::write(&aside, octets).and_then(|()| fs::rename(&aside, path));
    if done.is_err() {
        let _: io::Result<()> = fs::remove_file(&aside);
    }
    done.with_context(|| format!("writing {}", path.display()))
}
