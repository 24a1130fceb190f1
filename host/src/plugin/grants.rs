//! Importing a capability is asking for it; what the operator did not grant refuses the load.
//!
//! Place: asked by `load` before anything of a component runs.

use anyhow::ensure;

use super::settings::{Grant, PluginSettings};

/// Whether a plugin may import all those capabilities of the contract.
///
/// # Errors
/// Says what to write.
pub(super) fn check(capabilities: &[String], name: &str, own: &PluginSettings) -> anyhow::Result<()> {
    let table = if is_bare(name) { format!("[plugins.{name}]") } else { format!("[plugins.{name:?}]") };
    for capability in capabilities {
        let Some(grant) = Grant::named(capability) else { continue };
        let line = match grant {
            Grant::KeyValue => "grants = [\"key-value\"]",
            Grant::Metrics => "grants = [\"metrics\"]",
            Grant::Outbound => "outbound = [\"https://HOST\"]",
        };
        ensure!(own.grants.contains(&grant), "it imports {capability}, which is not granted: add {line} under {table} in flowgate.toml");
    }
    Ok(())
}

/// Keys that TOML takes without quotation marks.
fn is_bare(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_granted_is_refused_with_the_line_to_write() {
        let nothing = PluginSettings::default();
        let all = PluginSettings { grants: Grant::ALL.into(), ..PluginSettings::default() };
        let free = ["log", "text", "records"].map(str::to_owned);

        assert!(check(&free, "x", &nothing).is_ok());
        for grant in Grant::ALL {
            let asked = [grant.as_str().to_owned()];
            assert!(check(&asked, "x", &all).is_ok());
            let error = check(&asked, "x", &nothing).unwrap_err().to_string();
            assert!(error.contains(" under [plugins.x] in flowgate.toml"), "{error}");
        }
        assert_eq!(
            check(&["key-value".to_owned()], "my.plugin", &nothing).unwrap_err().to_string(),
            "it imports key-value, which is not granted: add grants = [\"key-value\"] under [plugins.\"my.plugin\"] in flowgate.toml"
        );
    }
}
