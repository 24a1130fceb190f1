//! Builds the logger for WebAssembly, so that the proxy can carry it within itself.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let logger = flowgate_guests::build("flowgate-logger")?;
    println!("cargo::rustc-env=FLOWGATE_LOGGER_WASM={}", logger.display());
    Ok(())
}
