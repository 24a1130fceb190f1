//! Builds the guests that tests load.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let guests = [
        ("flowgate-chameleon", "FLOWGATE_CHAMELEON_WASM"),
        ("flowgate-mediator", "FLOWGATE_MEDIATOR_WASM"),
        ("flowgate-redact", "FLOWGATE_REDACT_WASM"),
        ("flowgate-chat-text", "FLOWGATE_CHAT_TEXT_WASM"),
        ("flowgate-secrets-guard", "FLOWGATE_SECRETS_GUARD_WASM"),
        ("flowgate-usage", "FLOWGATE_USAGE_WASM"),
    ];
    for (package, variable) in guests {
        println!("cargo::rustc-env={variable}={}", flowgate_guests::build(package)?.display());
    }
    Ok(())
}
