//! The contract as text, and the worlds that are made of it.
//!
//! Place: under `bindings` and `pack`. A world comes from a plugin's own `wit` folder, or from the names a core module imports and exports.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use wit_parser::{Resolve, WorldId};

/// The contract, as it stands in the repository's `wit` folder.
pub const WIT: &str = include_str!("../../../wit/plugin.wit");
/// The version of it that this build speaks.
pub const VERSION: &str = "0.1.0";

/// What the world of a plugin is called.
pub(super) const WORLD: &str = "plugin";

/// The contract's package.
const NAMESPACE: &str = "flowgate";
const PACKAGE: &str = "plugin";
/// How its interfaces begin in imports and exports.
const PREFIX: &str = "flowgate:plugin/";

/// A world of some WIT.
#[derive(Debug)]
pub(super) struct World {
    pub(super) resolve: Resolve,
    pub(super) id: WorldId,
}

impl World {
    /// The world of that name in a folder of WIT.
    pub(super) fn of_folder(folder: &Path, name: &str) -> Result<Self> {
        let mut resolve = Resolve::default();
        let (package, _) =
            resolve.push_dir(folder).map_err(|why| anyhow!("reading the WIT in {}: {}", folder.display(), first_lines(&why)))?;
        speaks(&resolve, folder)?;
        let id = resolve.select_world(&[package], Some(name)).map_err(|_| {
            let own: Vec<_> = resolve.packages[package].worlds.keys().map(String::as_str).collect();
            anyhow!("{} has no world `{name}`: {}", folder.display(), has(&own))
        })?;
        Ok(Self { resolve, id })
    }

    /// A world of just what a core module imports and exports of the contract.
    pub(super) fn of_names(imports: &[String], exports: &[String]) -> Result<Self> {
        let mut resolve = Resolve::default();
        resolve.push_str("plugin.wit", WIT).context("reading the contract")?;

        let imported = imports.iter().filter(|name| name.starts_with(PREFIX)).map(|name| interface(&resolve, name, "imports"));
        let imported: BTreeSet<String> = imported.collect::<Result<_>>()?;
        let mut exported = BTreeSet::new();
        for name in exports.iter().filter(|name| name.starts_with(PREFIX)) {
            let (of, function) = name
                .split_once('#')
                .with_context(|| format!("it exports `{name}`, which names no function: `{PREFIX}INTERFACE@{VERSION}#FUNCTION` does"))?;
            let interface = interface(&resolve, of, "exports")?;
            let known = functions(&resolve, &interface);
            ensure!(
                known.iter().any(|known| known == function),
                "it exports `{name}`, and `{interface}` of the contract has no function `{function}`: {}",
                has(&known.iter().map(String::as_str).collect::<Vec<_>>())
            );
            exported.insert(interface);
        }
        ensure!(
            exported.contains("lifecycle"),
            "it does not export `{PREFIX}lifecycle@{VERSION}#configure`, which every plugin has; {}",
            match exports {
                [] => "it exports nothing at all: link it as a reactor (`-mexec-model=reactor`, or `-buildmode=c-shared` of Go)".to_owned(),
                exports => format!("its exports are {}", list(exports)),
            }
        );
        let lines = imported.iter().map(|name| format!("import {PREFIX}{name}@{VERSION};"));
        let lines: String = lines.chain(exported.iter().map(|name| format!("export {PREFIX}{name}@{VERSION};"))).collect();
        let text = format!("package flowgate:packed; world {WORLD} {{ {lines} }}");
        let package = resolve.push_str("packed.wit", &text).context("making a world of its imports and exports")?;
        let id = resolve.select_world(&[package], Some(WORLD)).context("making a world of its imports and exports")?;
        Ok(Self { resolve, id })
    }
}

/// The contract in a plugin's folder has to be one this build speaks.
fn speaks(resolve: &Resolve, folder: &Path) -> Result<()> {
    let of_contract = |name: &&wit_parser::PackageName| name.namespace == NAMESPACE && name.name == PACKAGE;
    let found = resolve.package_names.keys().find(of_contract);
    let found =
        found.with_context(|| format!("{} does not hold the contract `{NAMESPACE}:{PACKAGE}`: {}", folder.display(), renew(folder)))?;
    let version = found.version.as_ref().map(ToString::to_string).unwrap_or_default();
    ensure!(
        compatible(&version),
        "{} holds version {version} of the contract, and this flowgate speaks {VERSION}: {}",
        folder.display(),
        renew(folder)
    );
    Ok(())
}

fn renew(folder: &Path) -> String {
    let place: PathBuf = match folder.join("plugin.wit").exists() {
        true => folder.join("plugin.wit"),
        false => folder.join("deps/flowgate/plugin.wit"),
    };
    format!("write this one's there with `flowgate plugin wit > {}`, and follow what changed", place.display())
}

/// Within 0.1.x everything fits: what is missing is found when the component is loaded.
fn compatible(version: &str) -> bool {
    let minor = |version: &str| version.rsplit_once('.').map(|(minor, _)| minor.to_owned());
    minor(version) == minor(VERSION)
}

/// `observer` of `flowgate:plugin/observer@0.1.0`, if the contract has that.
fn interface(resolve: &Resolve, name: &str, verb: &str) -> Result<String> {
    let (interface, version) = name.trim_start_matches(PREFIX).split_once('@').unwrap_or((name.trim_start_matches(PREFIX), ""));
    if !compatible(version) {
        bail!(
            "it {verb} `{name}`, and this flowgate speaks version {VERSION} of the contract: generate its bindings anew (`flowgate plugin wit` prints it)"
        );
    }
    let known: Vec<_> = resolve.interfaces.iter().filter_map(|(_, interface)| interface.name.as_deref()).collect();
    ensure!(
        known.contains(&interface),
        "it {verb} `{name}`, and the contract has no interface `{interface}`{}",
        nearest(interface, &known)
    );
    Ok(interface.to_owned())
}

fn functions(resolve: &Resolve, interface: &str) -> Vec<String> {
    let named = resolve.interfaces.iter().find(|(_, one)| one.name.as_deref() == Some(interface));
    named.map(|(_, one)| one.functions.keys().cloned().collect()).unwrap_or_default()
}

fn nearest(name: &str, known: &[&str]) -> String {
    let best = known.iter().max_by(|one, other| strsim::jaro_winkler(one, name).total_cmp(&strsim::jaro_winkler(other, name)));
    best.map_or(String::new(), |best| format!(": `{best}` is the nearest"))
}

fn has(names: &[&str]) -> String {
    match names {
        [] => "it has none".to_owned(),
        names => format!("it has {}", list(names)),
    }
}

/// The first of them, in backquotes.
fn list(names: &[impl AsRef<str>]) -> String {
    const MOST: usize = 8;
    let shown: Vec<_> = names.iter().take(MOST).map(|name| format!("`{}`", name.as_ref())).collect();
    let more = if names.len() > MOST { format!(" and {} more", names.len() - MOST) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// WIT's parser draws the line it stopped at under its message.
fn first_lines(why: &anyhow::Error) -> String {
    format!("{why:#}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[&str]) -> Vec<String> {
        of.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_version_is_the_contracts() {
        assert!(WIT.contains(&format!("package {NAMESPACE}:{PACKAGE}@{VERSION};")));
    }

    #[test]
    fn a_world_is_made_of_a_modules_names() {
        let world = World::of_names(
            &names(&["flowgate:plugin/log@0.1.0", "wasi_snapshot_preview1"]),
            &names(&["memory", "flowgate:plugin/lifecycle@0.1.0#configure", "flowgate:plugin/observer@0.1.0#on-flow-end", "cabi_realloc"]),
        )
        .expect("the names are the contract's");

        assert_eq!(world.resolve.worlds[world.id].exports.len(), 2);
    }

    #[test]
    fn names_that_are_not_the_contracts_are_explained() {
        let configure = "flowgate:plugin/lifecycle@0.1.0#configure";
        let table = [
            (names(&[]), "link it as a reactor"),
            (names(&["memory", "_start"]), "its exports are `memory`, `_start`"),
            (names(&[configure, "flowgate:plugin/observr@0.1.0#on-flow-end"]), "no interface `observr`: `observer` is the nearest"),
            (names(&[configure, "flowgate:plugin/observer@0.1.0#on-end"]), "has no function `on-end`: it has `on-flow-end`"),
            (names(&[configure, "flowgate:plugin/observer@0.2.0#on-flow-end"]), "speaks version 0.1.0 of the contract"),
            (names(&[configure, "flowgate:plugin/observer@0.1.0"]), "names no function"),
        ];
        for (exports, expected) in table {
            let error = World::of_names(&[], &exports).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
