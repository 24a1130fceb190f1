//! `flowgate plugin new`: a folder that builds at once.
//!
//! It is written beside its place and renamed into it: there is never half a plugin.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    bindings,
    contract::{WIT, WORLD, World},
    language::{Language, Taste},
    manifest, templates,
};

/// Makes the folder `place`, whose last part is the plugin's name.
///
/// # Errors
/// Where it is there already, its name is not a plugin's, or it cannot be written; then nothing is left behind.
pub fn new(place: &Path, language: Language, taste: Taste) -> Result<()> {
    let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    manifest::good_name(name)?;
    // A dangling link is something, too.
    if place.symlink_metadata().is_ok() {
        bail!("{} is there already: choose another name, or move it away", place.display());
    }
    let aside = Aside::beside(place, name)?;
    for (path, text) in files(name, language, taste) {
        put(&aside.0, &path, text.as_bytes())?;
    }
    if matches!(language, Language::C | Language::Go) {
        for (path, text) in bindings::generate(language, World::of_folder(&aside.0.join("wit"), WORLD)?)? {
            put(&aside.0.join("gen"), &path, &text)?;
        }
    }
    fs::rename(&aside.0, place).with_context(|| format!("putting {} in its place", place.display()))
}

/// What the folder holds, bindings aside: what all tastes have, then what this one has.
pub(super) fn files(name: &str, language: Language, taste: Taste) -> Vec<(String, String)> {
    let own = language.name();
    let folders = [format!("{own}/common/"), format!("{own}/{}/", taste.name()), "common/".to_owned(), format!("flows/{}/", taste.name())];
    let mut files: Vec<(String, String)> = folders
        .iter()
        .flat_map(|folder| templates::under(folder))
        .map(|(path, text)| (path.replace("dot-", "."), filled(text, name, language, taste)))
        .collect();
    match language {
        Language::Rust => {
            files.push(("wit/plugin.wit".to_owned(), WIT.to_owned()));
            files.extend(templates::under("sdk/").map(|(path, text)| (format!("flowgate-guest/src/{path}"), text.to_owned())));
        }
        _ => {
            files.push(("wit/deps/flowgate/plugin.wit".to_owned(), WIT.to_owned()));
            let world = templates::under("wit/").filter(|(path, _)| path.strip_suffix(".wit") == Some(taste.name()));
            files.extend(world.map(|(_, text)| ("wit/world.wit".to_owned(), filled(text, name, language, taste))));
        }
    }
    if matches!(language, Language::Javascript | Language::Typescript) {
        files.extend(templates::under("types/").map(|(path, text)| (format!("types/{path}"), text.to_owned())));
    }
    files
}

fn filled(text: &str, name: &str, language: Language, taste: Taste) -> String {
    let part = |name: &str| templates::under("readme/").find(|(path, _)| *path == name).map_or("", |(_, text)| text.trim_end());
    text.replace("{{what}}", part(&format!("{}.txt", taste.name())))
        .replace("{{how}}", part(&format!("{}.txt", language.name())))
        .replace("{{language}}", language.name())
        .replace("{{name}}", name)
}

fn put(folder: &Path, path: &str, octets: &[u8]) -> Result<()> {
    let path = folder.join(path);
    let parent = path.parent().context("a file has a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    fs::write(&path, octets).with_context(|| format!("writing {}", path.display()))
}

/// A folder that goes when it was not renamed.
struct Aside(PathBuf);

impl Aside {
    fn beside(place: &Path, name: &str) -> Result<Self> {
        let parent = match place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        ensure!(parent.is_dir(), "{} is no folder: a new plugin is made in one that is there", parent.display());
        let aside = parent.join(format!(".{name}.{}", process::id()));
        fs::create_dir(&aside).with_context(|| format!("making {}", aside.display()))?;
        Ok(Self(aside))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
