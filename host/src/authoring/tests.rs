//! What new plugins begin with.

use std::{fs, path::Path};

use super::{
    Language, Taste,
    contract::{WORLD, World},
    new::{self, new},
};

/// Every text file below the folder.
fn texts(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(texts(&path));
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path.display().to_string(), text));
        }
    }
    found
}

#[test]
fn a_folder_is_whole_in_every_language_and_for_every_hook() {
    let dir = tempfile::tempdir().unwrap();
    for language in Language::ALL {
        for taste in Taste::ALL {
            let place = dir.path().join(format!("{}-{}", language.name(), taste.name()));

            new(&place, language, taste).unwrap();

            let texts = texts(&place);
            let name = place.file_name().unwrap().to_str().unwrap();
            for (path, text) in &texts {
                assert!(!text.contains("{{name") && !text.contains("{{what") && !text.contains("{{how"), "{path} has an open place");
            }
            let has = |ending: &str| texts.iter().any(|(path, _)| path.ends_with(ending));
            for part in [".gitignore", ".har", "plugin.wit"] {
                assert!(has(part), "{name} lacks {part}");
            }
            assert!(texts.iter().any(|(path, text)| path.ends_with("plugin.toml") && text.contains(name)), "{name} has no manifest");
            let readme = fs::read_to_string(place.join("README.md")).unwrap();
            assert!(readme.lines().count() <= 16 && readme.contains("Test: `"), "{readme}");
            if language != Language::Rust {
                World::of_folder(&place.join("wit"), WORLD).unwrap();
            }
        }
    }
    assert!(fs::read_dir(dir.path()).unwrap().all(|entry| !entry.unwrap().file_name().to_string_lossy().starts_with('.')));
}

/// Words of WIT are names of plugins like others.
#[test]
fn a_plugin_may_be_called_as_wit_has_words() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["record", "stream", "interface", "use", "result", "list"] {
        for language in [Language::C, Language::Javascript] {
            let place = dir.path().join(name);

            new(&place, language, Taste::Filter).unwrap();

            World::of_folder(&place.join("wit"), WORLD).unwrap();
            fs::remove_dir_all(&place).unwrap();
        }
    }
}

/// Node.js 22 takes a folder that is named to `--test` for a module.
#[test]
fn tests_are_named_as_files() {
    for language in [Language::Javascript, Language::Typescript] {
        let files = new::files("keep-chat", language, Taste::Filter);
        let (_, manifest) = files.iter().find(|(path, _)| path == "package.json").unwrap();
        let manifest: serde_json::Value = serde_json::from_str(manifest).unwrap();
        let test = manifest["scripts"]["test"].as_str().unwrap();
        assert!(!test.ends_with('/'), "{test}");
    }
}

#[test]
fn nothing_is_half_made_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("there");
    fs::create_dir(&there).unwrap();
    let table = [
        ("there", "is there already: choose another name, or move it away"),
        ("Big", "\"Big\" cannot be a plugin's name: take lower-case letters and digits"),
        ("host", "\"host\" cannot be a plugin's name"),
        ("nowhere/name", "is no folder: a new plugin is made in one that is there"),
    ];
    for (name, expected) in table {
        let error = format!("{:#}", new(&dir.path().join(name), Language::C, Taste::Filter).expect_err(expected));
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(there).unwrap().count(), 0);
}

#[test]
fn a_contract_of_another_version_is_refused_with_what_helps() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("old");
    new(&place, Language::Go, Taste::Observer).unwrap();
    let wit = place.join("wit");
    for file in ["world.wit", "deps/flowgate/plugin.wit"] {
        let text = fs::read_to_string(wit.join(file)).unwrap();
        fs::write(wit.join(file), text.replace("@0.1.0", "@0.2.0")).unwrap();
    }

    let error = World::of_folder(&wit, WORLD).expect_err("it is another version").to_string();

    assert!(error.contains("holds version 0.2.0 of the contract, and this flowgate speaks 0.1.0"), "{error}");
    assert!(error.contains("`flowgate plugin wit > "), "{error}");
}

/// The Rust template has the SDK's dependencies a second time, for there it has no workspace to take them from.
#[test]
fn the_copied_sdk_depends_on_what_the_sdk_depends_on() {
    let read =
        |path: &str| -> toml::Table { fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap().parse().unwrap() };
    let copy = read("templates/rust/common/flowgate-guest/Cargo.toml");
    let (sdk, workspace) = (read("../guest-sdk/Cargo.toml"), read("../Cargo.toml"));
    let names = |of: &toml::Table| of["dependencies"].as_table().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&copy), names(&sdk));
    for name in names(&sdk) {
        let (own, shared) = (&copy["dependencies"][&name], &workspace["workspace"]["dependencies"][&name]);
        let version = |of: &toml::Value| of.get("version").unwrap_or(of).as_str().unwrap().trim_start_matches('=').to_owned();
        assert_eq!(own.get("features"), shared.get("features"), "{name}");
        assert!(version(own).starts_with(&version(shared)), "{name}");
    }
    assert_eq!(copy["package"]["rust-version"], workspace["workspace"]["package"]["rust-version"]);
}

/// JavaScript's types were generated once and are kept by hand.
#[test]
fn the_types_have_every_function_of_the_contract() {
    let types = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/types/flowgate.d.ts")).unwrap();
    let world = World::of_names(&[], &["flowgate:plugin/lifecycle@0.1.0#configure".to_owned()]).unwrap();
    let camel = |name: &str| {
        let mut words = name.rsplit('.').next().unwrap_or(name).split('-');
        let first = words.next().unwrap_or_default().to_owned();
        words.fold(first, |all, word| all + &word[..1].to_uppercase() + &word[1..])
    };
    let functions = world.resolve.interfaces.iter().filter(|(_, one)| one.name.as_deref() != Some("state-handoff"));
    for name in functions.flat_map(|(_, one)| one.functions.keys()) {
        assert!(types.contains(&format!(" {}(", camel(name))), "{name}");
    }
}

/// The examples are what `new` makes, so that both are held by the same builds. `UPDATE_GOLDEN=1` writes them anew.
#[test]
fn the_examples_are_what_new_plugins_begin_with() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/examples");
    for language in Language::ALL.into_iter().filter(|language| *language != Language::Rust) {
        let example = examples.join(language.name());
        for (path, text) in new::files("keep-chat", language, Taste::Observer) {
            // A link to the contract itself.
            if path == "wit/deps/flowgate/plugin.wit" {
                continue;
            }
            let place = example.join(path);
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::write(&place, &text).unwrap();
            }
            assert!(fs::read_to_string(&place).is_ok_and(|present| present == text), "{} is not what `new` makes", place.display());
        }
    }
}
