//! Where a guest trapped, in the words of whoever wrote it: names of functions, without what toolchains put around them.
//!
//! Place: asked by `instance` about wasmtime's backtraces.

/// Functions named of the place where a guest trapped.
const FRAMES: usize = 4;

/// The innermost functions of the guest's own, innermost first; none where the toolchain left their names out. Only the printed form undoes name mangling: `  0: 0x1a2b - module!function`, other
/// lines say where that is in the source.
pub(super) fn frames(printed: &str) -> Vec<String> {
    let functions = printed.lines().filter_map(|line| {
        let (number, rest) = line.trim_start().split_once(':')?;
        number.parse::<usize>().ok()?;
        let (_, function) = rest.split_once(" - ")?;
        Some(plain(function.split_once('!').map_or(function, |(_, name)| name)))
    });
    let mut frames: Vec<(String, usize)> = Vec::new();
    for name in functions.filter(|name| !is_library(name)) {
        if let Some((last, times)) = frames.last_mut()
            && *last == name
        {
            *times += 1;
        } else if frames.len() < FRAMES {
            frames.push((name, 1));
        } else {
            break;
        }
    }
    let told = |(name, times): (String, usize)| if times > 1 { format!("{name} (which calls itself)") } else { name };
    frames.into_iter().map(told).collect()
}

/// What every panic passes through on its way, and every exit; and what has no name.
fn is_library(name: &str) -> bool {
    let nameless = name.starts_with("<wasm function ");
    let crates = ["std::", "core::", "alloc::", "rust_", "__rust"];
    let inside = name.trim_start_matches('<');
    nameless
        || crates.iter().any(|prefix| inside.starts_with(prefix))
        || ["abort", "exit", "_Exit", "exit_exit", "__wasi_proc_exit"].contains(&name)
}

/// Without what tells builds apart: `crate::function` of `crate::function::h0123456789abcdef` and of `crate[0123456789abcdef]::function`, as rustc's
/// two manglings have it.
fn plain(name: &str) -> String {
    let is_hash = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let name = match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && is_hash(hash) => name,
        _ => name,
    };
    let mut parts = name.split('[');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(']') {
            Some((hash, rest)) if is_hash(hash) => text += rest,
            _ => text = format!("{text}[{part}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_the_guests_own_are_named_plainly() {
        let printed = "error while executing at wasm backtrace:
    0:  0x1a2b - x.wasm!abort
                    at /src/abort.c:7:5
    0:  0x1a2b - <unknown>!<wasm function 258>
    1:  0x1a2c - x.wasm!std[d123b7a1a2ed1472]::panicking::panic_with_hook
    2:  0x1a2d - x.wasm!mine[0123456789abcdef]::deeper
    3:  0x1a2d - x.wasm!mine[0123456789abcdef]::deeper
    4:  0x1a2e - x.wasm!<mine[0123456789abcdef]::Rule as sdk[fedcba9876543210]::Filter>::on_request
    5:  0x1a2f - x.wasm!mine::old::h0123456789abcdef
    6:  0x1a30 - x.wasm!main.run[...]
    7:  0x1a31 - x.wasm!beyond";

        let expected = ["mine::deeper (which calls itself)", "<mine::Rule as sdk::Filter>::on_request", "mine::old", "main.run[...]"];
        assert_eq!(frames(printed), expected);
        assert!(frames("").is_empty());
    }
}
