//! Builds every Rust guest of the workspace and looks at what came out.

use std::{env, fs};

/// Preamble of a component (component-model binary format): magic, version 13, layer 1.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// Interfaces of the contract that guests export.
const HOOKS: [&str; 8] =
    ["lifecycle", "connect-filter", "request-filter", "response-filter", "stream-filter", "message-filter", "observer", "message-observer"];

#[test]
fn every_guest_becomes_a_component_that_exports_its_hooks_only() {
    // `<profile>/deps/<this test>`: beside the build scripts' own, so that what they compiled is used.
    let test = env::current_exe().expect("a test knows its file");
    let out = test.ancestors().nth(2).expect("a test is in deps").join("build/flowgate-guests-test/out");
    fs::create_dir_all(&out).expect("the folder for tests can be written to");
    let guests = [
        ("flowgate-logger", &["observer", "message-observer"] as &[_]),
        ("flowgate-redact", &["request-filter"]),
        ("flowgate-chameleon", &["connect-filter", "request-filter", "response-filter", "stream-filter", "observer", "message-observer"]),
        ("flowgate-mediator", &["message-filter"]),
    ];
    for (package, hooks) in guests {
        let component = flowgate_guests::build_into(package, &out).expect("the guest builds");

        let octets = fs::read(component).expect("the component is there");
        assert!(octets.starts_with(COMPONENT), "{package} is no component");
        for hook in HOOKS {
            // Core exports are `interface#function`; names of types have no `#`.
            let exported = format!("flowgate:plugin/{hook}@0.1.0#");
            let is_there = octets.windows(exported.len()).any(|window| window == exported.as_bytes());
            assert_eq!(is_there, hook == "lifecycle" || hooks.contains(&hook), "{package}: {hook}");
        }
    }
}
