//! `flowgate plugin check` and `inspect`: what a component is, before it is put anywhere.

use std::{fs, path::PathBuf};

use anyhow::{Context, anyhow, bail};
use wit_component::{DecodedWasm, WitPrinter};

use super::{Failure, harmless, plugin::micros, print, rehearse, runtime};
use crate::plugin::{self, Standing};

/// Say whether a proxy could serve a component, and what that would mean
///
/// Loads and configures it as a proxy would, under the settings of flowgate.toml, and names what it imports and is not granted.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The component; its name is the plugin's
    file: PathBuf,
    #[command(flatten)]
    around: rehearse::Around,
}

/// Print the WIT of a component: what it imports and exports
#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// The component
    file: PathBuf,
}

pub(super) fn check(check: &Check) -> Result<(), Failure> {
    let settings = check.around.settings(&check.file)?;
    let examined = runtime()?.block_on(plugin::examine(&check.file, settings))?;
    let info = &examined.info;
    print(format_args!("{} {}: {}", info.name, info.version, info.description));
    print(format_args!("file: {}, {} octets, SHA-256 {}", check.file.display(), examined.size, info.hash));
    print(format_args!("contract: flowgate:plugin@{}", examined.contract));
    print(format_args!("hooks: {}", some(&info.hooks.iter().map(|hook| (*hook).to_owned()).collect::<Vec<_>>())));
    let imports: Vec<String> = examined.imports.iter().map(|(name, standing)| format!("{name}{}", said(*standing))).collect();
    print(format_args!("imports: {}; {} interfaces of WASI 0.2", some(&imports), examined.wasi));
    print(format_args!("instances: {}", if examined.is_singleton { "one" } else { "any number" }));
    for rule in &examined.rules {
        print(format_args!("rule: {rule}"));
    }
    for doubt in &examined.doubts {
        print(format_args!("note: {doubt}"));
    }
    if examined.rules.is_empty() {
        print(format_args!("rule: none, so it is never called"));
    }
    let [cold, cached] = examined.loading.map(|took| micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)));
    print(format_args!("loading: {cold} the first time, {cached} from the cache"));
    match examined.ungranted {
        None => {
            print(format_args!("good"));
            Ok(())
        }
        Some(missing) => Err(Failure::Usage(anyhow!("{missing}"))),
    }
}

fn said(standing: Standing) -> &'static str {
    match standing {
        Standing::Free => "",
        Standing::Granted => " (granted)",
        Standing::Ungranted => " (not granted)",
    }
}

fn some(list: &[String]) -> String {
    if list.is_empty() { "none".to_owned() } else { list.join(", ") }
}

pub(super) fn inspect(inspect: &Inspect) -> Result<(), Failure> {
    let octets = fs::read(&inspect.file).with_context(|| format!("reading the component {}", inspect.file.display()));
    let text = octets.and_then(|octets| wit(&octets).with_context(|| format!("reading the WIT of {}", inspect.file.display())));
    print(format_args!("{}", text.map_err(Failure::Usage)?.trim_end()));
    Ok(())
}

fn wit(octets: &[u8]) -> anyhow::Result<String> {
    // The preamble: the magic number, a version and a layer (WebAssembly component model, binary format).
    match octets.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => {}
        Some([0, b'a', b's', b'm', ..]) => bail!("it is a core module, which has none: make a component of it with `flowgate plugin pack`"),
        _ => bail!("it is not WebAssembly"),
    }
    let decoded = wit_component::decode(octets).context("it is damaged, or of a newer format than this build knows")?;
    let (resolve, main) = match &decoded {
        DecodedWasm::Component(resolve, _) | DecodedWasm::WitPackage(resolve, _) => (resolve, decoded.package()),
    };
    let others: Vec<_> = resolve.packages.iter().map(|(id, _)| id).filter(|id| *id != main).collect();
    let mut printer = WitPrinter::default();
    printer.print(resolve, main, &others)?;
    // What is commented may be whatever its author wanted.
    Ok(harmless(&printer.output.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::LOGGER_WASM;

    #[test]
    fn the_wit_of_a_component_is_printed() {
        let text = wit(LOGGER_WASM).expect("WIT");

        for part in ["import flowgate:plugin/records@0.1.0;", "export flowgate:plugin/observer@0.1.0;", "on-flow-end: func(flow: flow);"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }

    #[test]
    fn no_terminal_obeys_a_comment() {
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_str("a.wit", "package a:b;\n/// Comment\ninterface c { f: func(); }").expect("WIT");
        resolve.interfaces.iter_mut().for_each(|(_, interface)| interface.docs.contents = Some("\u{1b}[2J".into()));
        let octets = wit_component::encode(&resolve, package).expect("octets");

        let text = wit(&octets).expect("WIT");

        assert!(text.contains("/// \u{fffd}[2J"), "{text}");
    }

    #[test]
    fn what_has_no_wit_is_said_with_the_mend() {
        let table: [(&[u8], &str); 4] = [
            (b"\0asm\x01\0\0\0", "a core module, which has none: make a component of it"),
            (b"hello", "not WebAssembly"),
            (b"", "not WebAssembly"),
            (&LOGGER_WASM[..LOGGER_WASM.len() / 2], "damaged"),
        ];
        for (octets, expected) in table {
            let error = format!("{:#}", wit(octets).expect_err(expected));
            assert!(error.contains(expected), "{error}");
        }
    }
}
