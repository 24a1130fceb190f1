//! Importing a capability is asking for it; what the operator did not grant refuses the load.
//!
//! Place: asked by `load` before anything of a component is compiled or runs.

use std::collections::BTreeSet;

use anyhow::bail;

use super::settings::{Grant, PluginSettings};

/// Whether a plugin may import all those capabilities of the contract.
///
/// # Errors
/// Names all that are missing, with the whole lines to write.
pub(super) fn check(capabilities: &[String], name: &str, own: &PluginSettings) -> anyhow::Result<()> {
    let asked = capabilities.iter().filter_map(|capability| Grant::named(capability));
    let missing: BTreeSet<Grant> = asked.filter(|grant| !own.grants.contains(grant)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let table = if is_bare(name) { format!("[plugins.{name}]") } else { format!("[plugins.{name:?}]") };
    let mut lines = Vec::new();
    // As the line has to be then, with what it says already.
    let listed: Vec<String> =
        own.grants.union(&missing).filter(|grant| **grant != Grant::Outbound).map(|grant| format!("{:?}", grant.as_str())).collect();
    if missing.iter().any(|grant| *grant != Grant::Outbound) {
        lines.push(format!("grants = [{}]", listed.join(", ")));
    }
    if missing.contains(&Grant::Outbound) {
        lines.push("outbound = [\"https://HOST\"] (the origins it may go to)".to_owned());
    }
    let names: Vec<&str> = missing.iter().map(|grant| grant.as_str()).collect();
    let are = if names.len() == 1 { "is" } else { "are" };
    bail!("it imports {}, which {are} not granted: write {} under {table} in flowgate.toml", names.join(", "), lines.join(" and "))
}

/// Keys that TOML takes without quotation marks.
fn is_bare(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(capabilities: &[&str], name: &str, granted: &[Grant]) -> String {
        let own = PluginSettings { grants: granted.iter().copied().collect(), ..PluginSettings::default() };
        let capabilities: Vec<String> = capabilities.iter().map(|name| (*name).to_owned()).collect();
        check(&capabilities, name, &own).map_or_else(|error| error.to_string(), |()| "granted".into())
    }

    #[test]
    fn what_is_not_granted_is_refused_with_the_lines_to_write() {
        assert_eq!(refusal(&["log", "text", "records"], "x", &[]), "granted");
        assert_eq!(refusal(&["key-value", "metrics", "outbound"], "x", &Grant::ALL), "granted");
        assert_eq!(
            refusal(&["key-value"], "my.plugin", &[]),
            "it imports key-value, which is not granted: write grants = [\"key-value\"] under [plugins.\"my.plugin\"] in flowgate.toml"
        );
        assert_eq!(
            refusal(&["outbound", "key-value", "log"], "x", &[Grant::Metrics]),
            "it imports key-value, outbound, which are not granted: write grants = [\"key-value\", \"metrics\"] and \
             outbound = [\"https://HOST\"] (the origins it may go to) under [plugins.x] in flowgate.toml"
        );
        assert!(refusal(&["outbound"], "x", &[]).contains("write outbound = [\"https://HOST\"] (the origins"));
    }
}
