//! What the doctor finds, in homes that were made for it, with the real command and a running proxy.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use flowgate::plugin::LOGGER_WASM;
use flowgate_testkit::{
    Authority,
    program::{self, Program},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command};

const BINARY: &str = env!("CARGO_BIN_EXE_flowgate");

/// A developer's home.
struct Home {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What the doctor said, and with which code it ended.
struct Report {
    code: Option<i32>,
    findings: Vec<Value>,
    text: String,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), variables: vec![("PATH".into(), std::env::var("PATH").unwrap())] }
    }

    fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.variables.retain(|(is, _)| is != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::command(BINARY, self.folder.path());
        command.arg("doctor").args(["--format", "json"]).args(arguments).envs(self.variables.iter().cloned());
        command
    }

    async fn examined(&self, arguments: &[&str]) -> Report {
        Report::of(program::output(&mut self.command(arguments)).await.unwrap())
    }

    async fn through(&self, program: &Program) -> Report {
        self.examined(&["--through", &program.address().to_string()]).await
    }
}

impl Report {
    fn of(output: std::process::Output) -> Self {
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let findings = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {text}"));
        Self { code: output.status.code(), findings, text }
    }

    /// There is a finding with these words, of that verdict; whoever is told that something is wrong is told what to do.
    #[track_caller]
    fn says(&self, verdict: &str, about: &str, what: &str) {
        let said = |finding: &&Value| finding["about"] == about && finding["what"].as_str().unwrap().contains(what);
        let found: Vec<_> = self.findings.iter().filter(said).collect();
        assert!(found.iter().any(|finding| finding["verdict"] == verdict), "no {verdict} about {about} with {what:?} in {}", self.text);
        assert!(found.iter().all(|finding| finding["verdict"] == "ok" || finding["mend"].is_string()), "{}", self.text);
    }

    #[track_caller]
    fn is_silent_about(&self, about: &str) {
        assert!(self.findings.iter().all(|finding| finding["about"] != about), "{}", self.text);
    }

    fn faults(&self) -> usize {
        self.findings.iter().filter(|finding| finding["verdict"] == "fault").count()
    }
}

fn der(pem: &str) -> Vec<u8> {
    BASE64_STANDARD.decode(pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>()).unwrap()
}

#[tokio::test]
async fn a_client_that_is_set_up_has_no_fault() {
    let program = Program::start(BINARY, &[]).await;
    let (mut home, address) = (Home::new(), program.address());
    let root = home.write("root.pem", program.root_pem());
    let proxy = format!("http://ana:x@{address}");
    home.set("HTTPS_PROXY", &*proxy).set("HTTP_PROXY", &*proxy).set("no_proxy", "localhost,127.0.0.1,.corp.example");
    home.set("NODE_EXTRA_CA_CERTS", root.to_str().unwrap()).set("SSL_CERT_FILE", root.to_str().unwrap());
    home.set("COPILOT_HOME", home.folder.path().to_str().unwrap().to_owned());
    let settings =
        format!("{{\n  // through flowgate\n  \"http.proxy\": \"{proxy}\", /* and */\n  \"http.proxySupport\": \"override\",\n}}\n");
    home.write(".config/Code/User/settings.json", settings);

    let report = home.examined(&["--through", &address.to_string(), "--user", "ana"]).await;

    assert_eq!((report.code, report.faults()), (Some(0), 0), "{}", report.text);
    report.says("ok", "listener", "a flowgate listens at");
    report.says("ok", "login", "as ana");
    report.says("ok", "interception", "certificates of its root");
    report.says("ok", "clock", "agree");
    report.says("ok", "node", "NODE_EXTRA_CA_CERTS has the root");
    report.says("ok", "python", "SSL_CERT_FILE has the root");
    report.says("ok", "environment", "HTTPS_PROXY is http://ana@");
    report.says("ok", "environment", "no_proxy leaves Copilot's hosts");
    report.says("ok", "vs code", "http.proxy in");
    report.says("ok", "copilot cli", "goes through this proxy");
    // The machine's own list, which a test cannot write to.
    report.says("warning", "system store", "the root is not in it");
}

#[tokio::test]
async fn a_root_for_some_names_only_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let permitted = flowgate::tls::Permitted::parse(&["inside.test".to_owned()]).unwrap();
    flowgate::tls::Root::create(&folder.path().join("state"), &permitted).unwrap();
    let program = Program::start_in(folder, BINARY, &[]).await;

    let report = Home::new().through(&program).await;

    report.says("ok", "interception", "not tried, for the root signs for certain names only");
    assert_eq!(report.faults(), 0, "{}", report.text);
}

#[tokio::test]
async fn while_roots_are_rotated_the_one_in_use_counts_and_the_next_one_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let (state, everything) = (folder.path().join("state"), flowgate::tls::Permitted::default());
    let permitted = flowgate::tls::Permitted::parse(&["inside.test".to_owned()]).unwrap();
    let root = flowgate::tls::Root::create(&state, &permitted).unwrap();
    let next = flowgate::tls::rotation::begin(&state, Some(&everything)).unwrap();
    let program = Program::start_in(folder, BINARY, &[]).await;
    let mut home = Home::new();
    let file = home.write("roots.pem", root.certificate_pem());
    home.set("NODE_EXTRA_CA_CERTS", file.to_str().unwrap());

    let report = home.through(&program).await;
    report.says("ok", "interception", "not tried");
    report.says("ok", "node", "NODE_EXTRA_CA_CERTS has the root");
    report.says("warning", "node", "with the next root: NODE_EXTRA_CA_CERTS");
    assert_eq!(report.faults(), 0, "{}", report.text);

    home.write("roots.pem", next.certificate_pem());
    home.through(&program).await.says("fault", "node", "where this proxy's root is not");
}

#[tokio::test]
async fn what_does_not_answer_as_a_proxy_is_a_fault() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let other = flowgate_testkit::Origin::saying("ok").await;

    let silent = Home::new().examined(&["--through", &gone.to_string()]).await;
    let foreign = Home::new().examined(&["--through", &other.address().to_string()]).await;

    assert_eq!((silent.code, foreign.code), (Some(1), Some(1)));
    silent.says("fault", "listener", "does not answer");
    assert!(foreign.faults() >= 1 && foreign.findings[0]["about"] == "listener", "{}", foreign.text);
    silent.is_silent_about("interception");
    foreign.is_silent_about("interception");
}

#[tokio::test]
async fn logins_are_tried_and_passwords_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mut adding = program::command(BINARY, folder.path());
    adding.args(["user", "add", "ana", "--users", "users", "--password-stdin"]).stdin(std::process::Stdio::piped());
    let mut adding = adding.spawn().unwrap();
    adding.stdin.take().unwrap().write_all(b"s3cret-word\n").await.unwrap();
    assert!(adding.wait().await.unwrap().success());
    let program = Program::start_in(folder, BINARY, &["--users", "users"]).await;
    let through = program.address().to_string();
    let mut home = Home::new();

    home.examined(&["--through", &through]).await.says("fault", "login", "wants a login");
    home.examined(&["--through", &through, "--user", "ana"]).await.says("fault", "login", "does not admit ana");

    let given = home
        .command(&["--through", &through, "--user", "ana", "--password-stdin"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut given = given.unwrap();
    given.stdin.take().unwrap().write_all(b"s3cret-word\n").await.unwrap();
    let given = Report::of(given.wait_with_output().await.unwrap());
    given.says("ok", "login", "as ana");
    given.says("ok", "interception", "looked into");

    home.set("HTTPS_PROXY", format!("http://ana:s3cret-word@{through}"));
    let written = home.examined(&["--through", &through]).await;
    written.says("ok", "login", "as ana");
    home.set("http_proxy", format!("http://ana:s3cret-w@rd@{through}")).set("ALL_PROXY", "http://ana:s3cret-word@192.0.2.1:1");
    let odd = home.examined(&["--through", &through]).await;
    odd.says("fault", "environment", "http_proxy holds credentials");

    for report in [given, written, odd] {
        assert!(!report.text.contains("s3cret"), "{}", report.text);
    }
}

#[tokio::test]
async fn variables_that_lead_elsewhere_or_nowhere_are_told() {
    let program = Program::start(BINARY, &[]).await;
    let (here, port) = (program.address().to_string(), program.address().port());
    type Variables = [(&'static str, &'static str)];
    let table: &[(&Variables, &str, &str)] = &[
        (&[], "warning", "https_proxy is not set"),
        (&[("http_proxy", "http://a:b@HERE")], "fault", "https_proxy is not"),
        (
            &[("https_proxy", "http://a:b@HERE"), ("HTTPS_PROXY", "http://c:d@HERE")],
            "fault",
            "https_proxy and HTTPS_PROXY are set to different",
        ),
        (&[("HTTPS_PROXY", "http://a:b@192.0.2.1:3128")], "warning", "leads to http://a@192.0.2.1:3128"),
        (&[("HTTPS_PROXY", "https://a:b@HERE")], "fault", "speaks HTTP in clear"),
        (&[("ALL_PROXY", "socks5://a:b@HERE")], "fault", "speaks HTTP in clear"),
        (&[("HTTPS_PROXY", "HERE")], "fault", "does not begin with http://"),
        (&[("HTTPS_PROXY", "http://a:b@127.0.0.1:port")], "fault", "is no URL of a proxy"),
        (&[("HTTPS_PROXY", "http://a@HERE")], "warning", "a name without a password"),
        (&[("HTTPS_PROXY", "http://HERE")], "ok", "HTTPS_PROXY is http://127.0.0.1:"),
        (&[("HTTPS_PROXY", "http://a:b@localhost:PORT")], "ok", "HTTPS_PROXY is http://a@localhost"),
        (&[("no_proxy", "localhost,.githubcopilot.com")], "fault", "no_proxy has \".githubcopilot.com\""),
        (&[("NO_PROXY", "*")], "fault", "NO_PROXY has \"*\""),
        (&[("NO_PROXY", "githubusercontent.com:443")], "fault", "copilot-proxy.githubusercontent.com is reached past"),
        (&[("NO_PROXY", "http://a.test")], "warning", "which is no host"),
    ];

    for (variables, verdict, what) in table {
        let mut home = Home::new();
        for (name, value) in *variables {
            home.set(name, value.replace("HERE", &here).replace("PORT", &port.to_string()));
        }
        home.through(&program).await.says(verdict, "environment", what);
    }
    let mut other = Home::new();
    other.set("HTTPS_PROXY", format!("http://bob:x@{here}"));
    other.examined(&["--through", &here, "--user", "ana"]).await.says("warning", "environment", "gives the name bob, not ana");
}

#[tokio::test]
async fn lists_of_roots_are_looked_into() {
    let program = Program::start(BINARY, &[]).await;
    let files = Home::new();
    let with = files.write("with.pem", format!("{}{}", Authority::shared().pem(), program.root_pem()));
    let without = files.write("without.pem", Authority::shared().pem());
    let none = files.folder.path().join("none.pem");
    // A key store of Java holds certificates octet for octet.
    let store = files.write("java/lib/security/cacerts", [b"\xfe\xed\xfe\xed".to_vec(), der(program.root_pem())].concat());
    let store_without = files.write("store-without", der(Authority::shared().pem()));
    let option = |file: &Path| format!("-Xmx1g -Djavax.net.ssl.trustStore={}", file.display());
    let java_home = files.folder.path().join("java");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let table = [
        ("NODE_EXTRA_CA_CERTS", text(&with), "ok", "node", "has the root"),
        ("NODE_EXTRA_CA_CERTS", text(&without), "fault", "node", "where this proxy's root is not"),
        ("NODE_EXTRA_CA_CERTS", text(&none), "fault", "node", "cannot be read"),
        ("NODE_USE_SYSTEM_CA", "1".into(), "fault", "node", "what the system trusts, where the root is not"),
        ("NODE_TLS_REJECT_UNAUTHORIZED", "0".into(), "warning", "node", "nothing"),
        ("REQUESTS_CA_BUNDLE", text(&with), "ok", "python", "has the root"),
        ("SSL_CERT_FILE", text(&without), "fault", "python", "does not have the root"),
        ("CURL_CA_BUNDLE", text(&without), "fault", "curl", "does not have the root"),
        ("GIT_SSL_CAINFO", text(&none), "fault", "git", "cannot be read"),
        ("GIT_SSL_NO_VERIFY", "1".into(), "warning", "git", "nothing"),
        ("JAVA_TOOL_OPTIONS", option(&store), "ok", "java", "has the root"),
        ("JDK_JAVA_OPTIONS", option(&store_without), "warning", "java", "not to be seen"),
        ("JAVA_HOME", text(&java_home), "ok", "java", "cacerts has the root"),
        ("JAVA_TOOL_OPTIONS", option(&none), "fault", "java", "cannot be read"),
    ];

    Home::new().through(&program).await.says("warning", "node", "NODE_EXTRA_CA_CERTS is not set");
    for (name, value, verdict, about, what) in table {
        let mut home = Home::new();
        home.set(name, value);
        home.through(&program).await.says(verdict, about, what);
    }
}

#[tokio::test]
async fn stores_of_nss_are_looked_into() {
    let program = Program::start(BINARY, &[]).await;
    let mut home = Home::new();
    // Without certutil: what is in the file is all that is known.
    home.set("PATH", "/nowhere");
    home.write(".mozilla/firefox/abc.default/cert9.db", [b"SQLite format 3\0".to_vec(), der(program.root_pem())].concat());
    home.write(".mozilla/firefox/profiles.ini", "");
    home.write(".pki/nssdb/cert9.db", b"SQLite format 3\0");

    let report = home.through(&program).await;

    report.says("ok", "firefox", "abc.default has the root");
    report.says("warning", "chromium", ".pki/nssdb does not have the root");
    Home::new().through(&program).await.is_silent_about("firefox");
}

#[tokio::test]
async fn settings_of_vs_code_are_looked_into() {
    let program = Program::start(BINARY, &[]).await;
    let here = program.address();
    let table = [
        (format!("{{ \"http.proxy\": \"http://ana:x@{here}\" }}"), "ok", "http.proxy in"),
        ("{ // nothing\n}".into(), "warning", "has no http.proxy"),
        ("".into(), "warning", "has no http.proxy"),
        ("{ \"http.proxy\": \"http://192.0.2.1:1\", }".into(), "warning", "leads to http://192.0.2.1:1"),
        ("{ \"http.proxySupport\": \"off\" }".into(), "fault", "extensions go past the proxy"),
        ("{ \"http.proxyStrictSSL\": false }".into(), "warning", "nothing that origins show is verified"),
        ("{ \"http.systemCertificates\": false }".into(), "warning", "counts for nothing"),
        ("{ \"http.noProxy\": [\"*.githubcopilot.com\"] }".into(), "fault", "is reached past the proxy"),
        ("{\n\"http.proxy\": \"http://ana:s3cret@x\" oops }".into(), "fault", "line 2 is no JSON"),
    ];

    for (text, verdict, what) in table {
        let home = Home::new();
        home.write(".config/Code/User/settings.json", text);
        let report = home.through(&program).await;
        report.says(verdict, "vs code", what);
        assert!(!report.text.contains("s3cret"), "{}", report.text);
    }
    // Elsewhere, where XDG says so.
    let mut home = Home::new();
    home.write("xdg/VSCodium/User/settings.json", "{ \"http.proxySupport\": \"off\" }");
    home.set("XDG_CONFIG_HOME", home.folder.path().join("xdg").to_str().unwrap().to_owned());
    home.through(&program).await.says("fault", "vs code", "VSCodium");
    Home::new().through(&program).await.is_silent_about("vs code");
}

#[tokio::test]
async fn settings_of_jetbrains_ides_are_looked_into() {
    let program = Program::start(BINARY, &[]).await;
    let port = program.address().port().to_string();
    let component = |options: &[(&str, &str)]| {
        let options: String = options.iter().map(|(name, value)| format!("<option name=\"{name}\" value=\"{value}\" />")).collect();
        format!("<application><component name=\"Other\"/><component name=\"HttpConfigurable\">{options}</component></application>")
    };
    let set = [("USE_HTTP_PROXY", "true"), ("PROXY_HOST", "localhost"), ("PROXY_PORT", &*port), ("PROXY_AUTHENTICATION", "true")];
    let with = |more: &[(&'static str, &'static str)]| component(&[&set[..], more].concat());
    let table = [
        (component(&set), "ok", "IdeaIC2024.3 goes through this proxy"),
        (component(&set), "warning", "has the root"),
        (component(&set[..3]), "warning", "gives this proxy no name"),
        (component(&[]), "warning", "uses no proxy"),
        (component(&[("USE_PROXY_PAC", "true")]), "warning", "a script"),
        (component(&[("USE_HTTP_PROXY", "true"), ("PROXY_HOST", "192.0.2.1"), ("PROXY_PORT", "1")]), "warning", "goes to 192.0.2.1:1"),
        (with(&[("PROXY_TYPE_IS_SOCKS", "true")]), "fault", "speaks SOCKS"),
        (with(&[("PROXY_EXCEPTIONS", "localhost|*.githubcopilot.com")]), "fault", "is reached past the proxy"),
        ("<application>".into(), "fault", "is no XML"),
    ];

    for (text, verdict, what) in table {
        let home = Home::new();
        home.write(".config/JetBrains/IdeaIC2024.3/options/proxy.settings.xml", text);
        home.through(&program).await.says(verdict, "jetbrains", what);
    }
    let old = Home::new();
    old.write(".config/JetBrains/PyCharm2020.1/options/other.xml", component(&set));
    old.write(".config/JetBrains/PyCharm2020.1/ssl/cacerts", der(program.root_pem()));
    let report = old.through(&program).await;
    report.says("ok", "jetbrains", "PyCharm2020.1 goes through this proxy");
    assert!(!report.text.contains("neither PyCharm"), "{}", report.text);
}

#[tokio::test]
async fn settings_of_git_npm_and_copilots_command_line_are_looked_into() {
    let program = Program::start(BINARY, &[]).await;
    let here = program.address();
    let mut home = Home::new();
    home.set("NPM_GOES", format!("ana:x@{here}"));
    home.write(".gitconfig", format!("[include]\npath = more\n[http]\nproxy = http://ana:x@{here}\nsslVerify = false\n"));
    home.write("root.pem", program.root_pem());
    home.write("more", "[http]\nsslCAInfo = ~/root.pem\n");
    home.write(
        ".npmrc",
        "; a comment\nproxy=null\nhttps-proxy = \"http://${NPM_GOES}\"\nstrict-ssl=false\ncafile=~/root.pem\nx=${NOT_SET}\n",
    );
    fs::create_dir(home.folder.path().join(".copilot")).unwrap();

    let report = home.through(&program).await;

    report.says("ok", "git", "http.proxy of git is http://ana@");
    report.says("ok", "git", "http.sslCAInfo of git has the root");
    report.says("warning", "git", "http.sslVerify of git is false");
    report.says("ok", "npm", "https-proxy in .npmrc is http://ana@");
    report.says("ok", "npm", "cafile in .npmrc has the root");
    report.says("warning", "npm", "strict-ssl in .npmrc is false");
    report.says("warning", "copilot cli", "does not lead to this proxy");
    let bad = Home::new();
    bad.write(".gitconfig", "[http]\nproxy = http://192.0.2.1:1\nsslCAInfo = /nowhere\n");
    bad.write(".npmrc", "https-proxy=${NOT_SET}192.0.2.1:1\n");
    let report = bad.through(&program).await;
    report.says("warning", "git", "leads to http://192.0.2.1:1");
    report.says("fault", "git", "cannot be read");
    report.says("fault", "npm", "does not begin with http://");
}

/// The doctor beside the proxy, as its own user.
async fn beside(program: &Program) -> Report {
    let listen = program.address().to_string();
    let mut command = program::command(BINARY, program.folder());
    command.args(["doctor", "--format", "json", "--state", "state", "--logs", "logs", "--listen", &listen]);
    Report::of(program::output(&mut command).await.unwrap())
}

#[tokio::test]
async fn the_proxys_own_side_is_looked_at() {
    let program = Program::start(BINARY, &[]).await;
    let mode = |path: &str, mode| fs::set_permissions(program.folder().join(path), fs::Permissions::from_mode(mode)).unwrap();

    let good = beside(&program).await;
    good.says("ok", "root", "is valid until");
    good.says("ok", "state folder", "is the proxy's own");
    good.says("ok", "records", "is the proxy's own");
    good.says("ok", "plugins", "logger is in service");
    assert!(good.findings.iter().any(|finding| finding["about"] == "disk"), "{}", good.text);
    assert_eq!(good.code, Some(if good.faults() > 0 { 1 } else { 0 }));

    fs::write(program.folder().join("plugins/broken.wasm"), &LOGGER_WASM[..100]).unwrap();
    let reload = program.command(BINARY, &["plugin", "reload"]).await;
    assert!(reload.status.success(), "{reload:?}");
    mode("state", 0o755);
    mode("logs", 0o707);
    let loose = beside(&program).await;
    loose.says("fault", "plugins", "broken: what its file holds is refused");
    loose.says("warning", "state folder", "others may look into");
    loose.says("warning", "records", "others may look into");
    mode("state/flowgate-ca-key.pem", 0o644);
    beside(&program).await.says("fault", "root", "chmod 600");
}

#[tokio::test]
async fn a_proxy_that_does_not_run_is_a_fault_and_its_files_are_looked_at_all_the_same() {
    let program = Program::start(BINARY, &[]).await;
    let listen = program.address().to_string();
    let folder = program.kill().await;
    let home = Home::new();
    let arguments = |state: &Path| vec!["--listen".to_owned(), listen.clone(), "--state".into(), state.to_str().unwrap().into()];
    let run = async |state: &Path| home.examined(&arguments(state).iter().map(String::as_str).collect::<Vec<_>>()).await;

    let stopped = run(&folder.path().join("state")).await;
    let never = run(&folder.path().join("never")).await;

    assert_eq!(stopped.code, Some(1));
    stopped.says("fault", "listener", "does not answer");
    stopped.says("ok", "root", "is valid until");
    stopped.says("warning", "plugins", "no flowgate answers");
    never.says("warning", "root", "there is no root certificate");
    assert!(!folder.path().join("never").exists(), "nothing is made");
    // Another root than the one that the proxy at that address hands out.
    let other = Program::start(BINARY, &[]).await;
    let state = folder.path().join("state");
    let wrong = home.examined(&["--listen", &other.address().to_string(), "--state", state.to_str().unwrap()]).await;
    wrong.says("fault", "root", "hands out another root");
}
