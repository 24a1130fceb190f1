//! From a core module to a component, in process.
//!
//! Place: for compilers that know WebAssembly but not components (Go's, clang, zig). Does what `wasm-tools component embed` and `component new` do,
//! with the adapter that turns calls of WASI preview 1 into those of 0.2.

use anyhow::{Context, Result, ensure};
use wasi_preview1_component_adapter_provider::{WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER};
use wasmparser::{Encoding, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::contract::World;

/// Custom sections that say what world a module was made for begin with this.
const DESCRIPTION: &str = "component-type";

/// Where it is said which world a core module is of.
#[derive(Clone, Copy, Debug)]
pub enum Described<'a> {
    /// In the module, by its bindings; else by what it imports and exports.
    ByItself,
    /// In a folder of WIT, by the name of the world.
    In(&'a std::path::Path, &'a str),
}

/// The component that a core module comes to.
///
/// # Errors
/// Where it is no core module, or its imports and exports are not those of the contract: says which, and what would be.
pub fn pack(module: &[u8], described: Described<'_>) -> Result<Vec<u8>> {
    let names = Names::of(module)?;
    let mut module = module.to_vec();
    let world = match described {
        Described::In(folder, name) => Some(World::of_folder(folder, name)?),
        Described::ByItself if names.described => None,
        Described::ByItself => Some(World::of_names(&names.imports, &names.exports)?),
    };
    if let Some(World { resolve, id }) = world {
        embed_component_metadata(&mut module, &resolve, id, StringEncoding::UTF8).context("describing the module's world")?;
    }
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER))
        .and_then(ComponentEncoder::encode)
        .context("its imports and exports do not make the world's component")
}

/// What a core module imports from and exports.
struct Names {
    imports: Vec<String>,
    exports: Vec<String>,
    described: bool,
}

impl Names {
    fn of(module: &[u8]) -> Result<Self> {
        ensure!(module.starts_with(b"\0asm"), "it is not WebAssembly");
        let mut names = Self { imports: Vec::new(), exports: Vec::new(), described: false };
        for payload in Parser::new(0).parse_all(module) {
            match payload.context("it is not WebAssembly as it should be")? {
                Payload::Version { encoding: Encoding::Component, .. } => {
                    anyhow::bail!("it is a component already: nothing has to be packed")
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        names.imports.push(import.context("reading its imports")?.module.to_owned());
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        names.exports.push(export.context("reading its exports")?.name.to_owned());
                    }
                }
                Payload::CustomSection(section) if section.name().starts_with(DESCRIPTION) => names.described = true,
                _ => {}
            }
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest core module that exports nothing.
    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    #[test]
    fn what_cannot_be_packed_is_explained() {
        let table: [(&[u8], &str); 4] = [
            (b"int main", "it is not WebAssembly"),
            (b"\0asm\x01\0\0\0\x01", "it is not WebAssembly as it should be"),
            (b"\0asm\x0d\0\x01\0", "it is a component already"),
            (EMPTY, "it exports nothing at all"),
        ];
        for (module, expected) in table {
            let error = format!("{:#}", pack(module, Described::ByItself).expect_err(expected));
            assert!(error.contains(expected), "{error}");
        }
    }
}
