//! Bindings for languages whose generators are Rust libraries: C and Go.
//!
//! Place: asked by `new` and `build`, so that a plugin's bindings always fit the WIT in its folder and no author needs a generator.

use anyhow::{Context, Result};
use wit_bindgen_core::Files;

use super::{contract::World, language::Language, templates};

/// The module that a Go plugin is.
const GO_MODULE: &str = "flowgate.local/plugin";
/// Where its generated packages are, below the module.
const GO_PACKAGES: &str = "flowgate.local/plugin/gen";
/// Where the author's functions are: one package for each interface that is exported.
const GO_HOOKS: &str = "flowgate.local/plugin/hooks";
/// The generator's runtime, as it imports it, and as it is carried here: in the plugin's own module, so that nothing has to be fetched.
const GO_RUNTIME: (&str, &str) = ("go.bytecodealliance.org/pkg/wit/", "flowgate.local/plugin/gen/wit/");

/// Path below the folder for generated files, and text.
pub(super) type Generated = Vec<(String, Vec<u8>)>;

/// What a language's bindings are; nothing for languages whose own tools make them.
pub(super) fn generate(language: Language, world: World) -> Result<Generated> {
    match language {
        Language::C => c(world),
        Language::Go => go(world),
        Language::Rust | Language::Javascript | Language::Typescript | Language::Python => Ok(Vec::new()),
    }
}

fn c(mut world: World) -> Result<Generated> {
    let mut files = Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut world.resolve, world.id, &mut files).context("generating C bindings")?;
    Ok(files.iter().map(|(path, text)| (path.to_owned(), text.to_vec())).collect())
}

fn go(mut world: World) -> Result<Generated> {
    let options =
        wit_bindgen_go::Opts { pkg_name: Some(GO_PACKAGES.to_owned()), export_pkg_name: Some(GO_HOOKS.to_owned()), ..Default::default() };
    let mut files = Files::default();
    options.build().generate(&mut world.resolve, world.id, &mut files).context("generating Go bindings")?;
    let generated = files.iter().map(|(path, text)| {
        let text = String::from_utf8_lossy(text).replace(GO_RUNTIME.0, GO_RUNTIME.1);
        let text = if path.ends_with("wit_exports.go") { collecting(&text) } else { text };
        (path.to_owned(), text.into_bytes())
    });
    let runtime = templates::under("go/gen/").map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
    Ok(generated.chain(runtime).collect())
}

/// Lets each exported function begin with a look at the heap. A collection that begins while the host lowers arguments reads a clock, and calling
/// out is forbidden there: the component traps (wasmtime issue 14318). So the collector never starts by itself, and is run here.
fn collecting(exports: &str) -> String {
    let mut text = String::with_capacity(exports.len());
    for line in exports.lines() {
        text.push_str(line);
        text.push('\n');
        if line.starts_with("func wasm_export_") && !line.starts_with("func wasm_export_post_return_") {
            text.push_str("\tcollector.Run()\n");
        }
    }
    text.replacen("import (\n", &format!("import (\n\t\"{GO_MODULE}/gen/collector\"\n"), 1)
}
