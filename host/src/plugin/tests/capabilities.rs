//! Capabilities that have to be granted: what they promise, and that nobody has them who was not granted them.

use super::*;

impl Plan {
    /// What plugins store is kept in this plan's folder.
    fn remembering(mut self) -> Self {
        self.settings.store = Some(self.root.path().join("state/key-value.redb"));
        self
    }
}

/// A guest that does those errands in each request.
fn errands(list: Value) -> Value {
    json!({ "errands": list })
}

/// What came of all errands so far, after everything is written.
async fn told(bench: Bench, plugin: &str) -> Vec<String> {
    let records = bench.records(plugin).await;
    records
        .into_iter()
        .filter(|(name, _)| name == "errands")
        .flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_refuses_the_load() {
    for grant in Grant::ALL {
        let plan = Plan::new().with("x", json!({}));
        let plan = plan.change("x", |own| {
            own.required = true;
            own.grants.remove(&grant);
        });

        let error = plan.try_start().await.map(drop).expect_err("refused").to_string();

        let line = match grant {
            // The other one is granted already.
            Grant::KeyValue | Grant::Metrics => "grants = [\"key-value\", \"metrics\"]",
            Grant::Outbound => "outbound = [\"https://HOST\"] (the origins it may go to)",
        };
        let sentence = format!("it imports {}, which is not granted: write {line} under [plugins.x] in flowgate.toml", grant.as_str());
        assert_eq!(error, format!("plugin x is needed and cannot be loaded: {sentence}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_read_again() {
    let list = json!([
        { "get": "a" },
        { "set": ["a", "1", null] },
        { "get": "a" },
        { "set": ["over", "1", 0] },
        { "get": "over" },
        { "compare-and-set": ["a", "2", "3"] },
        { "compare-and-set": ["a", "1", "3"] },
        { "compare-and-set": ["b", null, "x"] },
        { "increment": ["b", 1] },
        { "increment": ["n", 5] },
        { "keys": ["", 2] },
        { "remove": "a" },
        { "keys": ["", 9] },
    ]);
    let bench = Plan::new().with("x", errands(list)).start().await;

    bench.request("/").await.expect("passed");

    let expected = [
        "Ok(None)",
        "Ok(())",
        "Ok(Some(\"1\"))",
        "Ok(())",
        "Ok(None)",
        "Ok(false)",
        "Ok(true)",
        "Ok(true)",
        "Err(Other(\"the value is not a decimal number, so it cannot be incremented\"))",
        "Ok(5)",
        "Ok([\"a\", \"b\"])",
        "Ok(())",
        "Ok([\"b\", \"n\"])",
    ];
    assert_eq!(told(bench, "x").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_those_of_names_and_what_configuring_stores_stays() {
    let store = json!({ "first_errands": [{ "set": ["mine", "1", null] }] });
    let bench = Plan::new().with("one", store).with("two", errands(json!([{ "keys": ["", 9] }]))).start().await;

    bench.request("/").await.expect("passed");

    assert_eq!(told(bench, "two").await, ["Ok([])"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_the_plugins_own() {
    let list = json!([{ "fill": ["a", 3000] }, { "fill": ["b", 3000] }, { "remove": "a" }, { "fill": ["b", 3000] }]);
    for (quota, second) in [(4096, "Err(Quota)"), (8192, "Ok(())")] {
        let plan = Plan::new().with("other", errands(list.clone())).with("x", errands(list.clone()));
        let bench = plan.change("x", |own| own.key_value_bytes = quota).start().await;

        bench.request("/").await.expect("passed");

        assert_eq!(told(bench, "x").await, ["Ok(())", second, "Ok(())", "Ok(())"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_survives_swap_rollback_and_restart_exactly() {
    let mut plan = Plan::new().with("x", errands(json!([{ "increment": ["n", 1] }]))).remembering();
    // Nothing reaches the disk but by closing.
    plan.settings.limits.key_value.commit = PATIENCE;
    let mut bench = plan.start().await;
    for _ in 0..10 {
        bench.request("/").await.expect("passed");
    }
    for build in [variant(1), CHAMELEON.to_vec()] {
        bench.swap("x", &build);
        bench.live("x").await;
        for _ in 0..10 {
            bench.request("/").await.expect("passed");
        }
    }
    bench.platform.close(PATIENCE).await;
    bench.writer.close().await;

    let again = Plan { root: bench.root, settings: bench.settings };
    drop(bench.platform);
    let bench = again.start().await;
    bench.request("/").await.expect("passed");

    let expected: Vec<String> = (1..=31).map(|number| format!("Ok({number})")).collect();
    assert_eq!(told(bench, "x").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_count_at_once_lose_nothing() {
    let bench = Arc::new(Plan::new().with("x", errands(json!([{ "increment": ["n", 1] }]))).start().await);
    let tasks = crate::tasks::Tasks::new();

    let flows: Vec<_> = (0..8)
        .map(|_| {
            let bench = bench.clone();
            tasks.spawn(async move {
                for _ in 0..25 {
                    bench.request("/").await.expect("passed");
                }
            })
        })
        .collect();
    for flow in flows {
        flow.await.expect("no panic");
    }

    let bench = Arc::into_inner(bench).expect("the last one");
    let mut told = told(bench, "x").await;
    told.sort_by_key(|line| line.len());
    let last = told.iter().max_by_key(|line| (line.len(), line.as_str())).expect("lines");
    assert_eq!((told.len(), last.as_str()), (200, "Ok(200)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_used_refuses_the_start() {
    let plan = Plan::new().with("x", json!({})).remembering();
    let file = plan.settings.store.clone().expect("a file");
    fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    fs::write(&file, "no store").expect("written");
    let settings = plan.settings.clone();

    let error = plan.try_start().await.map(drop).expect_err("refused").to_string();
    assert!(error.contains("the key-value store") && error.contains("is damaged") && error.contains("move it away"), "{error}");

    // Nobody is granted it: nobody looks.
    let mut settings = settings;
    settings.plugins.get_mut("x").expect("there").grants.clear();
    Plan { root: TempDir::new().expect("a folder"), settings }.try_start().await.map(drop).expect("started");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_published_with_the_plugins_name_and_survive_a_swap() {
    let list = json!([
        { "count": ["seen", { "kind": "a" }, 2] },
        { "gauge": ["level", {}, 1.5] },
        { "measure": ["took_seconds", {}, 0.02] },
        { "count": ["not a name", {}, 1] },
    ]);
    let mut bench = Plan::new().with("one", errands(list)).with("two", json!({ "on_request": "trap" })).start().await;

    bench.request("/").await.expect("passed");
    bench.swap("one", &variant(1));
    bench.live("one").await;
    bench.request("/").await.expect("passed");
    let text = bench.platform.metrics();

    for line in [
        "# TYPE seen_total counter",
        "seen_total{plugin=\"one\",kind=\"a\"} 4",
        "level{plugin=\"one\"} 1.5",
        "took_seconds_bucket{plugin=\"one\",le=\"0.025\"} 2",
        "took_seconds_count{plugin=\"one\"} 2",
        "flowgate_plugin_metrics_left_out_total{plugin=\"one\"} 2",
        "# TYPE flowgate_plugin_calls_total counter",
        "flowgate_plugin_failures_total{plugin=\"two\"} 2",
        "flowgate_plugin_suspended{plugin=\"two\"} 0.0",
        "flowgate_plugin_stored_bytes{plugin=\"one\"} 0.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let info = text.lines().find(|line| line.starts_with("flowgate_plugin_info{plugin=\"one\"")).expect("a line");
    assert!(info.contains("version=\"1\"") && info.contains(&bench.hash("one").expect("in service")[..12]), "{info}");
}
