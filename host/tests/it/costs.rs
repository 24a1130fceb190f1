//! Cost cards of plugins, and the limits that a build can be held to.

use std::{collections::BTreeMap, env, fs, path::Path, process::Output};

use serde_json::{Value, json};

use crate::trying::{Desk, archive, golden_record, text};

/// By how many hundredths the logger's instructions may differ from what the repository says: compilers differ a little.
const TOLERANCE: u64 = 5;

async fn bench(desk: &Desk, config: &Value, more: &[&str]) -> Output {
    let config = config.to_string();
    desk.run(&[&["plugin", "bench", "chameleon.wasm", "flows.har", "--config", &config][..], more].concat()).await
}

/// The lines that say what is wrong.
fn said(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().filter_map(|line| line.strip_prefix("flowgate: ")).map(str::to_owned).collect()
}

#[tokio::test]
async fn what_hooks_cost_is_printed_and_each_limit_holds() {
    let desk = Desk::new();
    desk.put("flows.har", &archive(|_| {}));
    let config = json!({ "records": ["record"], "record_bytes": 100, "hosts": ["a.test"] });

    let printed = text(&bench(&desk, &config, &[]).await);
    let card: Value = serde_json::from_str(&text(&bench(&desk, &config, &["--json"]).await)).unwrap();

    assert!(printed.starts_with("chameleon 1 (") && printed.lines().nth(1).unwrap().starts_with("HOOK "), "{printed}");
    let end = card["hooks"].as_array().unwrap().iter().find(|hook| hook["hook"] == "on-flow-end").unwrap();
    assert_eq!((&end["calls"], &end["failed"], &end["output_bytes"]), (&json!(1), &json!(0), &json!({ "mean": 100, "most": 100 })));
    let instructions = end["instructions"]["most"].as_u64().unwrap();
    let row = printed.lines().find(|line| line.starts_with("on-flow-end ")).unwrap();
    assert!(row.contains(&format!("  {instructions}  ")), "{row} {instructions}");

    let (most, memory) = (instructions.to_string(), end["memory_bytes"].as_u64().unwrap());
    let (exact, tight) = (format!("{memory}B"), format!("{}B", memory - 1));
    let met = ["--max-p99", "1h", "--max-output", "100B", "--max-memory", &exact];
    text(&bench(&desk, &config, &met).await);
    let less = (instructions - 1).to_string();
    let crossed =
        bench(&desk, &config, &["--max-p99", "0us", "--max-instructions", &less, "--max-memory", &tight, "--max-output", "99B", "--json"])
            .await;
    assert_eq!(crossed.status.code(), Some(1));
    let lines = said(&crossed);
    let expected = [
        "on-flow-end: its p99 is ".to_owned(),
        format!("on-flow-end: a call executes {most} instructions, and --max-instructions is {less}"),
        format!("on-flow-end: an instance has {memory} octets of memory, and --max-memory is {}", memory - 1),
        "on-flow-end: a call puts out 100 octets, and --max-output is 99".to_owned(),
    ];
    for expected in expected {
        assert_eq!(lines.iter().filter(|line| line.starts_with(&expected)).count(), 1, "{expected}: {lines:?}");
    }
    let card: Value = serde_json::from_slice(&crossed.stdout).unwrap();
    assert_eq!(card["crossed"], json!(lines));
}

#[tokio::test]
async fn what_cannot_be_measured_is_said_with_the_mend() {
    let desk = Desk::new();
    desk.put("flows.har", &archive(|_| {}));
    let table = [
        (json!({ "hosts": ["b.test"] }), "its rules want none of the flows (1), so no hook was called: play others"),
        (
            json!({ "on_flow_end": "trap" }),
            "2 of its calls failed, so these are not its costs: `flowgate plugin test chameleon.wasm FLOWS` says why",
        ),
    ];
    for (config, expected) in table {
        let output = bench(&desk, &config, &[]).await;
        assert_eq!((output.status.code(), said(&output).as_slice()), (Some(1), [expected.to_owned()].as_slice()));
    }
    let unknown = bench(&desk, &json!({}), &["--max-p99", "5"]).await;
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("a duration is expected, as in 250us, 5ms or 1s"));
}

/// What the logger executes for a flow does not depend on how busy a machine is. `UPDATE_GOLDEN=1` writes the numbers anew: more of them is to be
/// somebody's decision, and less is to be kept.
#[tokio::test]
async fn the_logger_executes_as_many_instructions_for_a_flow_as_it_did() {
    let desk = Desk::new();
    let mut counted = BTreeMap::new();
    for name in ["completions", "telemetry"] {
        desk.put("record.json", &golden_record(name));
        let card: Value =
            serde_json::from_str(&text(&desk.run(&["plugin", "bench", "logger.wasm", "record.json", "--json"]).await)).unwrap();
        for hook in card["hooks"].as_array().unwrap() {
            counted.insert(format!("{name} {}", hook["hook"].as_str().unwrap()), hook["instructions"]["most"].as_u64().unwrap());
        }
    }

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/instructions.json");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, serde_json::to_string_pretty(&counted).unwrap() + "\n").unwrap();
    }
    let written: BTreeMap<String, u64> = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let near =
        |hook: &String, counted: u64| written.get(hook).is_some_and(|written| counted.abs_diff(*written) * 100 <= written * TOLERANCE);
    let alike = counted.len() == written.len() && counted.iter().all(|(hook, counted)| near(hook, *counted));
    assert!(alike, "counted {counted:?}, and {} says {written:?}: UPDATE_GOLDEN=1 writes it anew", file.display());
}
