//! Builds the default plugin for WebAssembly, so that the binary carries it.

fn main() -> anyhow::Result<()> {
    let component = flowgate_guests::build("flowgate-logger")?;
    println!("cargo::rustc-env=FLOWGATE_LOGGER_WASM={}", component.display());
    Ok(())
}
