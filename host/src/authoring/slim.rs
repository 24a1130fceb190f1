//! A component without what nobody reads.
//!
//! Place: for Rust's components, a third of which are names. What is kept are the functions of plugins and of the crates they use, as people write
//! them: those are what a trap's backtrace is told in. The standard library's and libc's are left out of it anyway.

use anyhow::{Context, Result, ensure};
use rustc_demangle::demangle;
use wasm_encoder::{Encode, NameMap, NameSection, RawSection, Section};
use wasmparser::{BinaryReader, Name, NameSectionReader};

/// What a component begins with: version 13 of layer 1. A module's is version 1 of layer 0.
const COMPONENT: &[u8; 8] = b"\0asm\x0d\0\x01\0";
/// Of sections, in components and in modules.
const CUSTOM: u8 = 0;
/// A section of components.
const MODULE: u8 = 1;

/// The same component, smaller.
///
/// # Errors
/// Where it is no component, or not whole.
pub(super) fn slim(component: &[u8]) -> Result<Vec<u8>> {
    ensure!(component.starts_with(COMPONENT), "it is no component");
    rewrite(component, |id, content| match id {
        MODULE => Ok(Some(rewrite(content, module_section)?)),
        // Names of the component's own items, which only a disassembly shows.
        CUSTOM if custom(content)?.0 == "component-name" => Ok(None),
        _ => Ok(Some(content.to_vec())),
    })
}

/// A section of a module; `None`: it goes.
fn module_section(id: u8, content: &[u8]) -> Result<Option<Vec<u8>>> {
    match id {
        CUSTOM => match custom(content)? {
            ("name", names) => functions(names),
            // For linkers.
            ("target_features", _) => Ok(None),
            _ => Ok(Some(content.to_vec())),
        },
        _ => Ok(Some(content.to_vec())),
    }
}

/// The name and the content of a custom section.
fn custom(content: &[u8]) -> Result<(&str, &[u8])> {
    let mut reader = BinaryReader::new(content, 0);
    let name = reader.read_string().context("a custom section has no name")?;
    Ok((name, &content[reader.current_position()..]))
}

/// Names of functions, without those of the standard library. Whatever else has names loses them.
fn functions(names: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut kept = NameMap::new();
    for part in NameSectionReader::new(BinaryReader::new(names, 0)) {
        let Name::Function(functions) = part.context("reading names of functions")? else { continue };
        for function in functions {
            let function = function.context("reading names of functions")?;
            let name = format!("{:#}", demangle(function.name));
            if is_told(&name) {
                kept.append(function.index, &name);
            }
        }
    }
    let mut section = NameSection::new();
    section.functions(&kept);
    let mut content = Vec::new();
    "name".encode(&mut content);
    content.extend_from_slice(&section.as_custom().data);
    Ok(Some(content))
}

/// Functions with a path, and the component's exports (`package:name/interface@version#function`), but for those of the standard library.
fn is_told(name: &str) -> bool {
    let library = ["std::", "core::", "alloc::", "__rustc", "wit_bindgen::"];
    let inside = name.trim_start_matches(['<', '&', '(']);
    (name.contains("::") || name.contains('#')) && !library.iter().any(|path| inside.starts_with(path))
}

/// The same binary with each section's content as `section` gives it back; `None`: without it.
fn rewrite(binary: &[u8], section: impl Fn(u8, &[u8]) -> Result<Option<Vec<u8>>>) -> Result<Vec<u8>> {
    let mut reader = BinaryReader::new(binary, 0);
    let mut rewritten = reader.read_bytes(COMPONENT.len()).context("it is not whole")?.to_vec();
    while !reader.eof() {
        let id = reader.read_u8().context("it is not whole")?;
        let content = reader.read_var_u32().and_then(|size| reader.read_bytes(size as usize)).context("it is not whole")?;
        if let Some(data) = section(id, content)? {
            RawSection { id, data: &data }.append_to(&mut rewritten);
        }
    }
    Ok(rewritten)
}

#[cfg(test)]
mod tests {
    use flowgate_testkit::guests::CHAMELEON;
    use wasmparser::{KnownCustom, Parser, Payload, Validator, WasmFeatures};

    use super::*;

    /// What functions are called in the first module that names any.
    fn names(component: &[u8]) -> Vec<String> {
        let payloads = Parser::new(0).parse_all(component).map(|payload| payload.unwrap());
        let sections = payloads.filter_map(|payload| match payload {
            Payload::CustomSection(section) => Some(section),
            _ => None,
        });
        let named = sections.flat_map(|section| match section.as_known() {
            KnownCustom::Name(parts) => parts.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
            _ => Vec::new(),
        });
        let functions = named.filter_map(|part| match part {
            Name::Function(functions) => Some(functions.into_iter().map(|function| function.unwrap().name.to_owned())),
            _ => None,
        });
        functions.flatten().collect()
    }

    #[test]
    fn what_an_author_reads_in_a_backtrace_is_kept() {
        let slim = slim(CHAMELEON).unwrap();

        Validator::new_with_features(WasmFeatures::all()).validate_all(&slim).unwrap();
        assert!(slim.len() < CHAMELEON.len());
        let (before, after) = (names(CHAMELEON), names(&slim));
        assert!(before.len() > after.len() && before.iter().any(|name| name.contains("4core3fmt")));
        assert!(after.iter().any(|name| name == "flowgate_chameleon::misdeeds::trap"));
        assert!(after.iter().any(|name| name == "flowgate:plugin/request-filter@0.1.0#on-request"));
        assert!(!after.iter().any(|name| name.starts_with("core::") || name == "dlmalloc"));
        // What is slim already stays as it is.
        assert_eq!(super::slim(&slim).unwrap(), slim);
    }

    #[test]
    fn what_is_no_whole_component_is_refused() {
        assert!(slim(b"\0asm\x01\0\0\0").unwrap_err().to_string().contains("no component"));
        assert!(slim(&CHAMELEON[..CHAMELEON.len() - 1]).unwrap_err().to_string().contains("not whole"));
    }
}
