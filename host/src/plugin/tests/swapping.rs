//! Builds come and go: good ones at once, bad ones never, and no flow notices.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_goes_live_and_its_removal_ends_that() {
    let mut plan = Plan::new();
    plan.set("late", recording());
    let mut bench = plan.start().await;
    assert!(bench.open("/").is_none());

    bench.swap("late", CHAMELEON);
    let hash = bench.live("late").await;
    assert_eq!(bench.hash("late"), Some(hash));
    bench.pass("/").await.expect("passed");

    fs::remove_file(bench.file("late")).expect("removed");
    while !matches!(bench.event().await, PluginEvent::Removed { name } if name == "late") {}
    assert!(bench.open("/").is_none());

    assert_eq!(bench.records("late").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_build_never_replaces_a_good_one() {
    let mut bench = Plan::new().with("x", recording()).start().await;
    let good = bench.hash("x").expect("live");
    let cut = &CHAMELEON[..CHAMELEON.len() / 2];
    let table: [(&[u8], &str); 4] =
        [(b"", "empty"), (b"no wasm at all", "not WebAssembly"), (b"\0asm\x01\0\0\0", "core module"), (cut, "cannot be compiled")];

    for (octets, reason) in table {
        bench.swap("x", octets);
        let said = bench.refused("x").await;
        assert!(said.contains(reason), "{said}");
        assert_eq!(bench.hash("x").as_ref(), Some(&good), "{reason}");
        bench.pass("/").await.expect("passed");
    }
    bench.swap("x", &variant(1));
    let better = bench.live("x").await;

    assert_ne!(better, good);
    assert_eq!(bench.hash("x"), Some(better));
    assert_eq!(bench.records("x").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_is_not_read() {
    let bench = Plan::new().with("x", recording()).start().await;
    let good = bench.hash("x");
    let beside = bench.root.path().join("large");
    // It takes no room on the disk.
    fs::File::create(&beside).expect("made").set_len(200 << 20).expect("grown");
    fs::rename(beside, bench.file("x")).expect("renamed");

    let reloaded = bench.platform.reload().await.expect("looked");

    assert!(reloaded[0].to_string().contains("209715200 octets, and a component may have"), "{}", reloaded[0]);
    assert_eq!(bench.hash("x"), good);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_must_be_called_as_its_plugin() {
    let plan = Plan::new().with("right", recording());
    // Without a configuration of its own the chameleon goes by its own name.
    let mut bench = plan.change("wrong", |own| own.grants = Grant::ALL.into()).start().await;

    bench.swap("wrong", CHAMELEON);
    let said = bench.refused("wrong").await;

    assert!(said.contains("rename the file to"), "{said}");
    assert!(bench.hash("wrong").is_none() && bench.hash("right").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_no_plugin_is_told_so() {
    let mut bench = Plan::new().start().await;

    // The smallest component there is.
    bench.swap("x", b"\0asm\x0d\0\x01\0");

    let said = bench.refused("x").await;
    assert!(
        said.contains("does not export `flowgate:plugin/lifecycle@0.1.0`, so it is no plugin of this proxy: it exports nothing"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_for_another_host_is_refused() {
    let table = [
        ("plugin/lifecycle@0.1.0", "plugin/lifecycle@0.2.0", "it was built for version 0.2.0 of the contract"),
        (
            "plugin/lifecycle@",
            "plugin/lifecycel@",
            "which is no hook of the contract and would never be called: `lifecycle` is the nearest",
        ),
        ("on-flow-end", "on-flow-off", "its exports do not fit version 0.1.0 of the contract"),
        ("plugin/metrics@", "plugin/metrixs@", "the capability `metrixs`, which this build does not offer"),
        ("wasi:cli/", "wasj:cli/", "which this host does not have"),
    ];
    let mut bench = Plan::new().with("x", recording()).start().await;
    let good = bench.hash("x").expect("live");

    for (ours, other, reason) in table {
        bench.swap("x", &renamed(ours, other));
        let said = bench.refused("x").await;
        assert!(said.contains(reason), "{said}");
        assert_eq!(bench.hash("x").as_ref(), Some(&good), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_another_plugin_is_not_taken() {
    let mut plan = Plan::new().with("good", recording());
    plan.set("thief", recording());
    let plan = plan.change("thief", |own| own.config = json!({ "name": "good", "on_request": "trap" }).to_string());
    let mut bench = plan.start().await;
    let good = bench.hash("good");

    bench.swap("thief", CHAMELEON);
    let said = bench.refused("thief").await;

    assert!(said.contains("calls itself good, which is another plugin's name: have it register as thief"), "{said}");
    assert_eq!((bench.hash("good"), bench.hash("thief")), (good, None));
    bench.request("/").await.expect("passed");
    assert_eq!(bench.platform.counts("good").map(|counts| counts.failures), Some(0));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_is_refused() {
    let mut bench = Plan::new().with("x", recording()).start().await;
    let good = bench.hash("x");
    let link = bench.root.path().join("link");
    // A regular file that nobody can read from its beginning, not even root.
    std::os::unix::fs::symlink("/proc/self/mem", &link).expect("linked");

    fs::rename(link, bench.file("x")).expect("renamed");

    let said = bench.refused("x").await;
    assert!(said.contains("it cannot be read"), "{said}");
    assert_eq!(bench.hash("x"), good);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_refused_and_takes_nothing_out_of_service() {
    let mut bench = Plan::new().with("x", recording()).start().await;
    let good = bench.hash("x");
    let link = bench.root.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).expect("linked");

    fs::rename(link, bench.file("x")).expect("renamed");
    let dangling = bench.refused("x").await;
    fs::create_dir(bench.file("folder")).expect("made");
    let folder = bench.refused("folder").await;
    fs::write(bench.settings.folder.join("Upper.wasm"), CHAMELEON).expect("written");
    let upper = bench.refused("Upper").await;

    assert!(dangling.contains("link to nothing") && folder.contains("not a regular file") && upper.contains("lower-case"));
    assert_eq!(bench.hash("x"), good);
    let status = bench.platform.status();
    let refused = |name: &str| status.iter().find(|status| status.name == name).and_then(|status| status.refused.clone());
    assert_eq!((refused("x"), refused("folder")), (Some(dangling), Some(folder)));

    // The good one again: nothing to load, and nothing to complain of any more.
    bench.swap("x", CHAMELEON);
    bench.platform.reload().await.expect("looked");
    let status = bench.platform.status();
    assert!(status.iter().find(|status| status.name == "x").is_some_and(|status| status.refused.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_forgotten_with_its_file() {
    let mut bench = Plan::new().with("x", recording()).start().await;
    fs::create_dir(bench.file("folder")).expect("made");
    bench.refused("folder").await;
    std::os::unix::fs::symlink("nowhere", bench.file("link")).expect("linked");
    bench.refused("link").await;
    // So new that it might be changed once more without that showing.
    bench.swap("text", b"no component");
    bench.refused("text").await;
    // Read, compiled, and only then found wanting.
    bench.swap("other", CHAMELEON);
    bench.refused("other").await;

    fs::remove_dir(bench.file("folder")).expect("removed");
    for name in ["link", "text", "other"] {
        fs::remove_file(bench.file(name)).expect("removed");
    }
    bench.platform.reload().await.expect("looked");

    let known: Vec<String> = bench.platform.status().into_iter().map(|status| status.name).collect();
    assert_eq!(known, ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn mounted_volumes_are_swapped_by_one_link() {
    let mut plan = Plan::new();
    // As Kubernetes mounts a config map: the file is a link through `..data`, which is replaced whole.
    let folder = plan.settings.folder.clone();
    let link = |to: &str, from: &str| std::os::unix::fs::symlink(to, folder.join(from)).expect("linked");
    for (version, octets) in [("..1", CHAMELEON.to_vec()), ("..2", variant(41))] {
        fs::create_dir_all(folder.join(version)).expect("made");
        fs::write(folder.join(version).join("x.wasm"), octets).expect("written");
    }
    link("..1", "..data");
    link("..data/x.wasm", "x.wasm");
    plan.set("x", recording());
    let mut bench = plan.start().await;
    let first = bench.hash("x").expect("live");

    link("..2", "..data_tmp");
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("renamed");

    let second = bench.live("x").await;
    assert_ne!(first, second);
    fs::remove_dir_all(folder.join("..1")).expect("removed");
    bench.platform.reload().await.expect("looked");
    assert_eq!(bench.hash("x"), Some(second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_touched_file_is_not_loaded_again() {
    let bench = Plan::new().with("x", recording()).start().await;
    let build = |bench: &Bench| bench.platform.set_in_service().plugins[0].build.clone();
    let before = build(&bench);

    fs::File::open(bench.file("x")).expect("there").set_modified(std::time::SystemTime::now()).expect("touched");
    bench.swap("x", CHAMELEON);
    let reloaded = bench.platform.reload().await.expect("looked");

    assert_eq!(reloaded.iter().map(ToString::to_string).collect::<Vec<_>>(), ["x: unchanged"]);
    assert!(Arc::ptr_eq(&before, &build(&bench)));
}

/// The chameleon, with one of the names in it written otherwise.
pub(super) fn renamed(ours: &str, other: &str) -> Vec<u8> {
    assert_eq!(ours.len(), other.len());
    let mut octets = CHAMELEON.to_vec();
    for at in memchr::memmem::find_iter(CHAMELEON, ours) {
        octets[at..at + ours.len()].copy_from_slice(other.as_bytes());
    }
    octets
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_keeps_the_build_it_began_with() {
    let mut bench = Plan::new().with("x", recording()).start().await;
    let mut open = bench.open("/").expect("wanted");
    {
        let (course, flow) = open.course();
        course.request(flow, false).await.expect("passed");
    }

    bench.swap("x", &variant(2));
    bench.live("x").await;
    {
        let (course, flow) = open.course();
        answer(flow, "late");
        let head = lock(flow).response.clone().expect("an answer");
        course.response_needs(&head);
        course.response(flow, false).await.expect("passed");
    }
    drop(open);

    assert_eq!(bench.platform.counts("x").map(|counts| counts.calls), Some(0));
    assert_eq!(bench.records("x").await, [("record".to_owned(), "x".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_flow_is_lost_over_many_swaps() {
    let mut bench = Plan::new().with("x", recording()).start().await;
    let mut flows = 0;

    for number in 0..10 {
        if number % 3 == 2 {
            bench.swap("x", &CHAMELEON[..1000 + usize::from(number)]);
            bench.refused("x").await;
        } else {
            bench.swap("x", &variant(number));
            bench.live("x").await;
        }
        for _ in 0..10 {
            bench.pass("/").await.expect("passed");
            flows += 1;
        }
    }

    assert_eq!(bench.records("x").await.len(), flows);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_builds_are_freed_with_their_last_flow() {
    let mut bench = Plan::new().with("x", recording()).start().await;
    let old = Arc::downgrade(&bench.platform.set_in_service().plugins[0].build);
    let open = bench.open("/").expect("wanted");

    bench.swap("x", &variant(3));
    bench.live("x").await;
    assert!(old.upgrade().is_some(), "a flow is open");
    drop(open);
    let freed = async {
        while old.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    };

    timeout(PATIENCE, freed).await.expect("freed");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_and_half_written_files_are_followed_to_their_end() {
    let mut plan = Plan::new();
    plan.set("x", recording());
    let mut bench = plan.start().await;
    let root = bench.root.path().to_owned();
    let elsewhere = |name: &str| root.join(name);
    fs::write(elsewhere("one"), CHAMELEON).expect("written");
    fs::write(elsewhere("two"), &CHAMELEON[..5000]).expect("written");

    std::os::unix::fs::symlink(elsewhere("one"), bench.file("x")).expect("linked");
    let one = bench.live("x").await;
    // Another link takes the place of this one, and leads to a file that is not finished.
    std::os::unix::fs::symlink(elsewhere("two"), elsewhere("link")).expect("linked");
    fs::rename(elsewhere("link"), bench.file("x")).expect("renamed");
    bench.refused("x").await;
    assert_eq!(bench.hash("x"), Some(one));
    // Nothing in the folder itself changes now.
    fs::write(elsewhere("two"), variant(4)).expect("written");
    bench.platform.rescan();

    bench.live("x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_vanishes_removes_nobody() {
    let mut bench = Plan::new().with("x", recording()).start().await;

    let prepared = bench.root.path().join("prepared");
    fs::create_dir(&prepared).expect("made");
    fs::write(prepared.join("x.wasm"), variant(5)).expect("written");

    fs::rename(&bench.settings.folder, bench.root.path().join("aside")).expect("renamed");
    bench.platform.rescan();
    fs::rename(prepared, &bench.settings.folder).expect("renamed");
    let first = bench.event().await;

    assert!(matches!(first, PluginEvent::Live(_)), "{first:?}");
    bench.pass("/").await.expect("passed");
    assert_eq!(bench.records("x").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_needed_and_missing_is_said_at_the_start() {
    let plan = Plan::new().change("guard", |own| own.on_failure = crate::plugin::OnFailure::Refuse);

    let error = plan.try_start().await.map(drop).expect_err("needed");

    assert!(format!("{error:#}").contains("guard.wasm is missing"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_takes_the_place_of_the_built_in_logger_and_gives_it_back() {
    let mut plan = Plan::new();
    plan.settings.plugins.clear();
    let mut bench = plan.start().await;
    let built_in = bench.hash("logger").expect("it is live");
    assert!(bench.platform.plugins()[0].file.is_none());

    bench.swap("logger", b"no good");
    bench.refused("logger").await;
    assert_eq!(bench.hash("logger").as_ref(), Some(&built_in));
    let mut other = crate::plugin::LOGGER_WASM.to_vec();
    other.extend([0, 3, 1, b'v', 1]);
    bench.swap("logger", &other);
    assert_ne!(bench.live("logger").await, built_in);
    fs::remove_file(bench.file("logger")).expect("removed");

    assert_eq!(bench.live("logger").await, built_in);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_disabled_is_left_alone() {
    let plan = Plan::new().with("x", recording()).change("x", |own| own.enabled = false);

    assert!(plan.start().await.platform.plugins().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_are_for_components_that_take_them() {
    let plan = Plan::new().with("x", json!({ "request_body": "chunks" })).change("x", |own| own.required = true);
    // The same component, its hook in a package that is none of the contract's.
    plan.put("x", &renamed("flowgate:plugin/stream-filter@", "my-house:plugin/stream-filter@"));

    let error = plan.try_start().await.map(drop).expect_err("needed");

    assert!(format!("{error:#}").contains("does not export `flowgate:plugin/stream-filter`"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_filter_loads() {
    let plan = Plan::new();
    plan.put("redact", flowgate_testkit::guests::REDACT);
    let bench = plan.start().await;

    let plugins = bench.platform.plugins();

    assert_eq!(plugins.iter().map(|plugin| plugin.name.as_str()).collect::<Vec<_>>(), ["redact"]);
    assert!(plugins[0].hooks.contains(&"request-filter"));
}
