//! `flowgate plugin new|build|pack|wit`: making plugins. None of these needs a proxy that runs.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use clap::Subcommand;

use super::{Failure, print, put};
use crate::authoring::{self, Described, Engine, Language, Order, Taste};

#[derive(Debug, Subcommand)]
pub(super) enum Authoring {
    /// Make a folder with a plugin that builds at once
    New {
        /// The plugin's name, or the path of the folder to make, whose last part is the name
        name: PathBuf,
        /// What to write it in
        #[arg(long, value_enum)]
        lang: Language,
        /// What it does to begin with
        #[arg(long, value_enum, default_value = "observer")]
        hook: Taste,
    },
    /// Build a plugin's folder to NAME.wasm in it, by the language's own tools
    ///
    /// Tools on the path are used as they are. What the folder pins in package.json or requirements.txt is installed with your npm or pip, into
    /// node_modules or .venv in the folder and nowhere else, and said before it is done.
    Build {
        /// The plugin's folder
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// Install tools here instead of into the folder: several plugins can share them
        #[arg(long, env = "FLOWGATE_TOOLS", value_name = "FOLDER")]
        tools: Option<PathBuf>,
        /// What runs JavaScript inside the component
        #[arg(long, value_enum, default_value = "quickjs")]
        engine: Engine,
    },
    /// Make a component of a core module, as compilers without component support leave them
    ///
    /// The contract and the adapter for WASI preview 1 are in flowgate: no other tool is needed. A module's world is read from the module: from
    /// what its bindings wrote into it, else from what it imports and exports.
    Pack {
        /// The core module
        module: PathBuf,
        /// The component [default: plugin.wasm beside the module]
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
        /// A folder of WIT that describes the module instead
        #[arg(long, value_name = "FOLDER", requires = "world")]
        wit: Option<PathBuf>,
        /// The world of that folder
        #[arg(long, value_name = "NAME", requires = "wit")]
        world: Option<String>,
    },
    /// Print the contract between proxy and plugins
    Wit,
}

pub(super) fn run(command: Authoring) -> Result<(), Failure> {
    match command {
        Authoring::New { name, lang, hook } => {
            authoring::new(&name, lang, hook).map_err(Failure::Usage)?;
            print(format_args!("made {}: its README.md says how it is tested and built (`flowgate plugin build {0}`)", name.display()));
        }
        Authoring::Build { folder, tools, engine } => {
            // The reason for waiting, while it lasts.
            let say = |what: &str| {
                let _ = writeln!(io::stderr(), "flowgate: {what}");
            };
            let built = authoring::build(&Order { folder: &folder, tools: tools.as_deref(), engine }, &say)?;
            print(format_args!("built {} ({})", built.component.display(), size(built.octets)));
        }
        Authoring::Pack { module, out, wit, world } => pack(&module, out, wit.as_deref().zip(world.as_deref()))?,
        Authoring::Wit => put(authoring::WIT.as_bytes()),
    }
    Ok(())
}

fn pack(path: &Path, out: Option<PathBuf>, world: Option<(&Path, &str)>) -> anyhow::Result<()> {
    let out = out.unwrap_or_else(|| path.with_file_name("plugin.wasm"));
    let module = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let described = world.map_or(Described::ByItself, |(wit, world)| Described::In(wit, world));
    let component = authoring::pack(&module, described).map_err(|why| anyhow!("packing {}: {why:#}", path.display()))?;
    fs::write(&out, &component).with_context(|| format!("writing {}", out.display()))?;
    print(format_args!("packed {} ({})", out.display(), size(component.len())));
    Ok(())
}

fn size(octets: usize) -> String {
    match octets {
        0..1_000_000 => format!("{} KB", octets.div_ceil(1000)),
        _ => format!("{:.1} MB", octets as f64 / 1e6),
    }
}
