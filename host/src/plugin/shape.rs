//! What a component imports and exports, by name.
//!
//! Place: asked by `load`, first of the octets, so that what cannot be served is refused before anything is compiled, then of what was
//! compiled, which is what counts. Knows nothing of types: whether they fit, linking finds out.

use anyhow::{bail, ensure};
use wasmparser::{Chunk, Parser, Payload};
use wasmtime::{
    Engine,
    component::{Component, types::ComponentItem},
};

use super::capability::OFFERED;

/// What the contract is called in imports and exports.
pub(super) const PACKAGE: &str = "flowgate:plugin/";
/// The contract's version this build speaks.
pub(super) const VERSION: &str = "0.1.0";
/// What is imported to look back at messages: for those that do not, none are held.
const HELD_MESSAGES: &str = "[method]flow.held-messages";
/// What a component may export of the contract: what is called, and what some toolchains export along with that.
const EXPORTED: [&str; 11] = [
    "lifecycle",
    "connect-filter",
    "request-filter",
    "response-filter",
    "stream-filter",
    "message-filter",
    "observer",
    "message-observer",
    "state-handoff",
    "types",
    "context",
];
/// Packages of WASI that are linked; every 0.2.x fits.
const WASI: [&str; 6] = ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// See the module.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Shape {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Shape {
    /// As it is in a file; `None` if that cannot be read, which compiling finds words for.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let (mut shape, mut parser, mut rest) = (Self::default(), Parser::new(0), octets);
        loop {
            let Chunk::Parsed { consumed, payload } = parser.parse(rest, true).ok()? else { return None };
            rest = rest.get(consumed..)?;
            match payload {
                Payload::ComponentImportSection(imports) => {
                    for import in imports {
                        shape.imports.push(import.ok()?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(exports) => {
                    for export in exports {
                        shape.exports.push(export.ok()?.name.name.to_owned());
                    }
                }
                // What is in there has imports and exports of its own.
                Payload::ModuleSection { unchecked_range, .. } | Payload::ComponentSection { unchecked_range, .. } => {
                    let inside = unchecked_range.end.checked_sub(unchecked_range.start)?;
                    rest = rest.get(usize::try_from(inside).ok()?..)?;
                }
                Payload::End(_) => return Some(shape),
                _ => {}
            }
        }
    }

    /// As it was compiled.
    pub(super) fn of(component: &Component, engine: &Engine) -> Self {
        let kind = component.component_type();
        Self {
            imports: kind.imports(engine).map(|(name, _)| name.to_owned()).collect(),
            exports: kind.exports(engine).map(|(name, _)| name.to_owned()).collect(),
        }
    }

    /// # Errors
    /// It is no plugin, or one for another host; says what it lacks or has too much.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let names = self.imports.iter().chain(&self.exports).filter_map(|name| name.strip_prefix(PACKAGE));
        let versions = names.map(|interface| interface.split_once('@').map_or("none", |(_, version)| version));
        if let Some(other) = versions.into_iter().find(|version| !version.starts_with("0.1.")) {
            bail!(
                "it was built for version {other} of the contract, and this build speaks {VERSION}: build it with this one's, which `flowgate plugin wit` \
                 prints"
            );
        }
        let mut strange = Vec::new();
        for import in &self.imports {
            match import.strip_prefix(PACKAGE) {
                Some(interface) => {
                    let name = interface.split('@').next().unwrap_or_default();
                    ensure!(
                        OFFERED.contains(&name),
                        "it imports the capability `{name}`, which this build does not offer: {}",
                        nearest(name, &OFFERED)
                    );
                }
                None if is_linked_wasi(import) => {}
                None => strange.push(format!("`{import}`")),
            }
        }
        ensure!(
            strange.is_empty(),
            "it imports {}, which this host does not have: a plugin has the contract's interfaces (`outbound` for requests of its own) and WASI 0.2 \
             without HTTP",
            strange.join(", ")
        );
        for name in self.exports.iter().filter_map(|export| export.strip_prefix(PACKAGE)?.split('@').next()) {
            ensure!(
                EXPORTED.contains(&name),
                "it exports `{PACKAGE}{name}`, which is no hook of the contract and would never be called: {}",
                nearest(name, &EXPORTED)
            );
        }
        // In an order that does not depend on the tools that built it.
        let mut names: Vec<String> = self.exports.iter().map(|name| format!("`{name}`")).collect();
        names.sort_unstable();
        let exports = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        ensure!(
            self.exports("lifecycle"),
            "it does not export `{PACKAGE}lifecycle@{VERSION}`, so it is no plugin of this proxy: it exports {exports}"
        );
        Ok(())
    }

    /// The contract's that it imports.
    pub(super) fn capabilities(&self) -> Vec<String> {
        let names = self.imports.iter().filter_map(|import| import.strip_prefix(PACKAGE)?.split('@').next());
        names.filter(|name| !matches!(*name, "types" | "context")).map(str::to_owned).collect()
    }

    /// The contract's version that it was built for, as its lifecycle says.
    pub(super) fn version(&self) -> &str {
        let lifecycle = self.exports.iter().find_map(|name| name.strip_prefix(PACKAGE)?.strip_prefix("lifecycle@"));
        lifecycle.unwrap_or_default()
    }

    /// How many interfaces of WASI it imports.
    pub(super) fn wasi(&self) -> usize {
        self.imports.iter().filter(|import| is_linked_wasi(import)).count()
    }

    /// Whether it exports that interface of the contract, in any version.
    pub(super) fn exports(&self, interface: &str) -> bool {
        self.exports.iter().filter_map(|name| name.strip_prefix(PACKAGE)).any(|name| name.split('@').next() == Some(interface))
    }
}

/// Whether it asks for WebSocket messages that passed earlier.
pub(super) fn keeps_messages(component: &Component, engine: &Engine) -> bool {
    component.component_type().imports(engine).any(|(import, item)| match &item.ty {
        ComponentItem::ComponentInstance(context) if import.strip_prefix(PACKAGE).is_some_and(|name| name.starts_with("context@")) => {
            context.exports(engine).any(|(name, _)| name == HELD_MESSAGES)
        }
        _ => false,
    })
}

/// A hint at what was meant.
fn nearest(name: &str, known: &[&str]) -> String {
    let best = known.iter().max_by(|one, other| strsim::jaro_winkler(one, name).total_cmp(&strsim::jaro_winkler(other, name)));
    best.map_or(String::new(), |best| format!("`{best}` is the nearest"))
}

fn is_linked_wasi(import: &str) -> bool {
    WASI.iter().any(|package| import.starts_with(package)) && import.split_once('@').is_some_and(|(_, version)| version.starts_with("0.2."))
}

#[cfg(test)]
mod tests {
    use flowgate_testkit::guests::CHAMELEON;

    use super::*;

    #[test]
    fn only_wasi_02_is_linked() {
        for import in ["wasi:io/streams@0.2.6", "wasi:cli/environment@0.2.12"] {
            assert!(is_linked_wasi(import), "{import}");
        }
        for import in ["wasi:http/types@0.2.0", "wasi:io/streams@0.3.0", "wasi:io/streams", "other:io/streams@0.2.0"] {
            assert!(!is_linked_wasi(import), "{import}");
        }
    }

    #[test]
    fn names_are_read_without_compiling() {
        let shape = Shape::read(CHAMELEON).expect("a component");

        shape.check().expect("a plugin");
        assert!(shape.exports("observer") && shape.exports("state-handoff") && !shape.exports("message-filter"));
        let capabilities = shape.capabilities();
        assert!(["key-value", "log", "metrics", "outbound", "records"].iter().all(|name| capabilities.iter().any(|own| own == name)));
        assert!(!capabilities.iter().any(|name| name == "context" || name == "types"), "{capabilities:?}");
        for at in [0, 9, 5000, CHAMELEON.len() - 1] {
            assert_eq!(Shape::read(&CHAMELEON[..at]), None, "{at}");
        }
    }

    #[test]
    fn what_cannot_be_served_is_named() {
        let shape = |imports: &[&str], exports: &[&str]| Shape {
            imports: imports.iter().map(|name| (*name).to_owned()).collect(),
            exports: exports.iter().map(|name| (*name).to_owned()).collect(),
        };
        let lifecycle = "flowgate:plugin/lifecycle@0.1.0";
        let table = [
            (
                shape(&["a:b/c", "wasi:http/types@0.2.0"], &[lifecycle]),
                "imports `a:b/c`, `wasi:http/types@0.2.0`, which this host does not",
            ),
            (shape(&["flowgate:plugin/time-travel@0.1.0"], &[lifecycle]), "the capability `time-travel`, which this build does not offer"),
            (shape(&["flowgate:plugin/key-volue@0.1.0"], &[lifecycle]), "does not offer: `key-value` is the nearest"),
            (
                shape(&[], &[lifecycle, "flowgate:plugin/observes@0.1.0"]),
                "no hook of the contract and would never be called: `observer` is the nearest",
            ),
            (shape(&[], &[lifecycle, "flowgate:plugin/observer@0.2.0"]), "built for version 0.2.0 of the contract"),
            (shape(&[], &[lifecycle, "flowgate:plugin/observer"]), "built for version none of the contract"),
            (shape(&[], &["my:own/lifecycle@0.1.0"]), "no plugin of this proxy: it exports `my:own/lifecycle@0.1.0`"),
            (shape(&[], &[]), "no plugin of this proxy: it exports nothing"),
            (shape(&["flowgate:plugin/log@0.2.0"], &[lifecycle]), "built for version 0.2.0 of the contract"),
            (shape(&["flowgate:plugin/log@0.1.0"], &["wasi:cli/run@0.2.0"]), "does not export `flowgate:plugin/lifecycle@0.1.0`"),
        ];
        for (shape, expected) in table {
            let error = shape.check().expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
