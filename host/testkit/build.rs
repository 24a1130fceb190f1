//! Builds the guests that tests load.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    for (package, variable) in [("flowgate-chameleon", "FLOWGATE_CHAMELEON_WASM"), ("flowgate-redact", "FLOWGATE_REDACT_WASM")] {
        println!("cargo::rustc-env={variable}={}", flowgate_guests::build(package)?.display());
    }
    Ok(())
}
