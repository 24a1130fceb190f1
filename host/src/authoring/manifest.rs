//! `plugin.toml`: what `flowgate plugin build` has to know of a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::language::Language;

/// Its name.
pub(super) const FILE: &str = "plugin.toml";

/// What it says.
#[derive(Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// The plugin's, and the component's without `.wasm`.
    pub(super) name: String,
    pub(super) language: Language,
}

impl Manifest {
    /// Reads it; a folder without one is taken for what its files speak for.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let manifest = match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("reading {}", path.display()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::guessed(folder)?,
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        good_name(&manifest.name).with_context(|| format!("the name in {}", path.display()))?;
        Ok(manifest)
    }

    fn guessed(folder: &Path) -> Result<Self> {
        let Some(language) = Language::of_folder(folder) else {
            bail!(
                "{} is no plugin's folder: it has no {FILE}, and neither Cargo.toml, package.json, go.mod, src/app.py nor src/plugin.c \
                 (`flowgate plugin new NAME --lang LANGUAGE` makes one)",
                folder.display()
            );
        };
        let whole: PathBuf = folder.canonicalize().with_context(|| format!("finding {}", folder.display()))?;
        let name = whole.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Self { name: name.unwrap_or_default(), language })
    }
}

/// What registrations take, and WIT as well: words of lower-case letters and digits, each beginning with a letter, with `-` between them.
pub(super) fn good_name(name: &str) -> Result<()> {
    let word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.chars().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit())
    };
    // A proxy takes no file of that name: it stands for the proxy itself.
    if name == "host" {
        bail!("\"host\" cannot be a plugin's name: it stands for the proxy itself");
    }
    if !name.split('-').all(word) {
        bail!(
            "{name:?} cannot be a plugin's name: take lower-case letters and digits, in words that begin with a letter, as in `keep-chat`"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words() {
        for (name, good) in
            [("a", true), ("keep-chat2", true), ("", false), ("-a", false), ("a--b", false), ("A", false), ("2a", false), ("a/b", false)]
        {
            assert_eq!(good_name(name).is_ok(), good, "{name:?}");
        }
    }

    #[test]
    fn a_folder_without_a_manifest_is_recognised() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("my-rule");
        fs::create_dir(&folder).unwrap();

        let error = Manifest::of(&folder).expect_err("it is empty").to_string();
        assert!(error.contains("is no plugin's folder"), "{error}");

        fs::write(folder.join("go.mod"), "").unwrap();
        assert_eq!(Manifest::of(&folder).unwrap(), Manifest { name: "my-rule".into(), language: Language::Go });

        fs::write(folder.join(FILE), "name = \"other\"\nlanguage = \"pyton\"").unwrap();
        let error = format!("{:#}", Manifest::of(&folder).expect_err("no such language"));
        assert!(error.contains("unknown variant `pyton`, expected one of `rust`"), "{error}");
    }
}
