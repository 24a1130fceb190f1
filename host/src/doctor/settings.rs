//! Settings of editors and tools, as they lie in the home folder.
//!
//! Place: part of `mod`. What is not installed is not spoken of. Sources: VS Code's `settings.json` (JSON with comments), JetBrains'
//! `proxy.settings.xml` or `other.xml`, `git config`, npm's `.npmrc`, and the folder of Copilot's command line.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jsonc_parser::parse_to_serde_value;
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value};

use super::{Finding, Subject, trust, variables, written};

pub(super) fn examine(subject: &Subject, roots: &[CertificateDer<'static>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in vscode_files(subject) {
        findings.extend(vscode(subject, &file));
    }
    for folder in jetbrains_folders(subject) {
        findings.extend(jetbrains(subject, &folder, roots));
    }
    findings.extend(git(subject, roots));
    findings.extend(npm(subject, roots));
    findings.extend(copilot_cli(subject));
    findings
}

fn vscode_files(subject: &Subject) -> Vec<PathBuf> {
    let (home, config) = (&subject.surroundings.home, &subject.surroundings.config);
    let products = ["Code", "Code - Insiders", "VSCodium", "Cursor"].into_iter();
    let all = products.flat_map(|product| {
        [config.join(product).join("User/settings.json"), home.join("Library/Application Support").join(product).join("User/settings.json")]
    });
    all.chain([home.join(".vscode-server/data/Machine/settings.json")]).filter(|file| file.is_file()).collect()
}

fn vscode(subject: &Subject, file: &Path) -> Vec<Finding> {
    const ABOUT: &str = "vs code";
    let shown = file.display();
    let unreadable = |why: String| vec![Finding::fault(ABOUT, format!("{shown} cannot be read: {why}"), "mend it where it says so")];
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return unreadable(error.to_string()),
    };
    let settings: Map<String, Value> = match parse_to_serde_value::<Option<Map<String, Value>>>(&text, &Default::default()) {
        Ok(settings) => settings.unwrap_or_default(),
        // Without the line itself, which may hold a password.
        Err(error) => return unreadable(format!("line {} is no JSON", error.line_display())),
    };
    let set = |key: &str| settings.get(key);
    let mut findings = Vec::new();
    let proxy = set("http.proxy").and_then(Value::as_str).filter(|proxy| !proxy.is_empty());
    match proxy {
        Some(proxy) => findings.push(written::judge(ABOUT, &format!("http.proxy in {shown}"), proxy, subject)),
        None if variables::proxy_for_tls(subject).is_some() => {
            findings.push(Finding::ok(ABOUT, format!("{shown} has no http.proxy: started from a terminal it takes the environment's")));
        }
        None => {
            let mend = format!("set \"http.proxy\": \"http://NAME:PASSWORD@{}\"", subject.here);
            findings.push(Finding::warning(ABOUT, format!("{shown} has no http.proxy: Copilot goes past the proxy"), mend));
        }
    }
    if set("http.proxySupport").and_then(Value::as_str) == Some("off") {
        let what = format!("http.proxySupport in {shown} is off: extensions go past the proxy");
        findings.push(Finding::fault(ABOUT, what, "set it to \"override\""));
    }
    if set("http.proxyStrictSSL") == Some(&Value::Bool(false)) {
        let what = format!("http.proxyStrictSSL in {shown} is false: nothing that origins show is verified");
        findings.push(Finding::warning(ABOUT, what, "take it out, and let the system trust the root instead"));
    }
    if set("http.systemCertificates") == Some(&Value::Bool(false)) {
        let what = format!("http.systemCertificates in {shown} is false: a root in the system's store counts for nothing");
        findings.push(Finding::warning(ABOUT, what, "take it out"));
    }
    if let Some(list) = set("http.noProxy").and_then(Value::as_array) {
        findings.extend(variables::exceptions(ABOUT, &format!("http.noProxy in {shown}"), list.iter().filter_map(Value::as_str)));
    }
    findings
}

/// Folders of settings, one for each product and version.
fn jetbrains_folders(subject: &Subject) -> Vec<PathBuf> {
    let tops = [subject.surroundings.config.join("JetBrains"), subject.surroundings.home.join("Library/Application Support/JetBrains")];
    let mut all: Vec<PathBuf> =
        tops.iter().flat_map(|top| fs::read_dir(top).into_iter().flatten().flatten()).map(|entry| entry.path()).collect();
    all.retain(|folder| folder.join("options").is_dir());
    all.sort();
    all
}

fn jetbrains(subject: &Subject, folder: &Path, roots: &[CertificateDer<'static>]) -> Vec<Finding> {
    const ABOUT: &str = "jetbrains";
    let product = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mend = format!("in its settings under HTTP Proxy choose manual, HTTP, {} and {}", subject.here.host, subject.here.port);
    let mut options = None;
    for file in ["options/proxy.settings.xml", "options/other.xml"].map(|file| folder.join(file)) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        match roxmltree::Document::parse(&text) {
            Ok(document) => options = options.or_else(|| http_configurable(&document)),
            Err(error) => {
                let what = format!("{} is no XML: line {}", file.display(), error.pos().row);
                return vec![Finding::fault(ABOUT, what, "close the IDE, move the file away, and set the proxy again")];
            }
        }
    }
    let options = options.unwrap_or_default();
    let option = |name: &str| options.iter().find(|(is, _)| is == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty());
    let is_on = |name: &str| option(name) == Some("true");
    if is_on("USE_PROXY_PAC") {
        return vec![Finding::warning(ABOUT, format!("{product} asks the system or a script for its proxy"), mend)];
    }
    if !is_on("USE_HTTP_PROXY") {
        return vec![Finding::warning(ABOUT, format!("{product} uses no proxy"), mend)];
    }
    let (host, port) = (option("PROXY_HOST").unwrap_or_default(), option("PROXY_PORT").unwrap_or("80"));
    if !port.parse().is_ok_and(|port| subject.here.is(host, port)) {
        return vec![Finding::warning(ABOUT, format!("{product} goes to {host}:{port}, and not to this proxy"), mend)];
    }
    if is_on("PROXY_TYPE_IS_SOCKS") {
        return vec![Finding::fault(ABOUT, format!("{product} speaks SOCKS to this proxy, which speaks HTTP"), mend)];
    }
    let mut findings = vec![match is_on("PROXY_AUTHENTICATION") {
        true => Finding::ok(ABOUT, format!("{product} goes through this proxy, with a name")),
        false => {
            Finding::warning(ABOUT, format!("{product} gives this proxy no name"), "tick proxy authentication there and write your name")
        }
    }];
    if let Some(list) = option("PROXY_EXCEPTIONS") {
        findings.extend(variables::exceptions(ABOUT, &format!("the exceptions of {product}"), list.split([',', '|', ';', '\n'])));
    }
    let own = folder.join("ssl/cacerts");
    let trusts =
        roots.is_empty() || trust::is_of_system(&subject.surroundings, roots) == Some(true) || trust::holds(&own, roots).unwrap_or(false);
    if !trusts {
        let mend = "in its settings under Tools, Server Certificates add flowgate-ca.pem";
        findings.push(Finding::warning(ABOUT, format!("neither {product} nor the system has the root"), mend));
    }
    findings
}

fn http_configurable(document: &roxmltree::Document<'_>) -> Option<Vec<(String, String)>> {
    let component =
        document.descendants().find(|node| node.has_tag_name("component") && node.attribute("name") == Some("HttpConfigurable"))?;
    let option = |node: roxmltree::Node<'_, '_>| Some((node.attribute("name")?.to_owned(), node.attribute("value")?.to_owned()));
    Some(component.children().filter(|node| node.has_tag_name("option")).filter_map(option).collect())
}

/// As `git` itself says, from all its files.
fn git(subject: &Subject, roots: &[CertificateDer<'static>]) -> Vec<Finding> {
    const ABOUT: &str = "git";
    let Some(list) = subject.surroundings.asked("git", &["config", "--includes", "--list", "-z"]) else { return Vec::new() };
    let list = String::from_utf8_lossy(&list);
    // Of a key that is there several times the last counts.
    let set =
        |key: &str| list.split('\0').filter_map(|entry| entry.split_once('\n')).rfind(|(name, _)| *name == key).map(|(_, value)| value);
    let mut findings = Vec::new();
    if let Some(proxy) = set("http.proxy").filter(|proxy| !proxy.is_empty()) {
        findings.push(written::judge(ABOUT, "http.proxy of git", proxy, subject));
    }
    if let Some(file) = set("http.sslcainfo").filter(|_| !roots.is_empty()) {
        let file = file.strip_prefix("~/").map_or_else(|| PathBuf::from(file), |rest| subject.surroundings.home.join(rest));
        findings.push(trust::replaced(ABOUT, "http.sslCAInfo of git", &file, roots));
    }
    if set("http.sslverify").is_some_and(|value| ["false", "no", "off", "0"].contains(&&*value.to_ascii_lowercase())) {
        let what = "http.sslVerify of git is false: nothing that origins show is verified";
        findings.push(Finding::warning(ABOUT, what, "git config --global --unset http.sslVerify, and let it trust the root instead"));
    }
    findings
}

fn npm(subject: &Subject, roots: &[CertificateDer<'static>]) -> Vec<Finding> {
    const ABOUT: &str = "npm";
    let Ok(text) = fs::read_to_string(subject.surroundings.home.join(".npmrc")) else { return Vec::new() };
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let entries: Vec<(&str, &str)> =
        lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.trim(), value.trim().trim_matches('"'))).collect();
    let set = |key: &str| {
        let (_, value) = entries.iter().rfind(|(name, _)| *name == key)?;
        Some(expanded(value, subject)).filter(|value| !value.is_empty())
    };
    let mut findings = Vec::new();
    for key in ["proxy", "https-proxy"] {
        if let Some(proxy) = set(key).filter(|proxy| !["null", "false"].contains(&&**proxy)) {
            findings.push(written::judge(ABOUT, &format!("{key} in .npmrc"), &proxy, subject));
        }
    }
    if let Some(file) = set("cafile").filter(|_| !roots.is_empty()) {
        let file = file.strip_prefix("~/").map_or_else(|| PathBuf::from(&file), |rest| subject.surroundings.home.join(rest));
        findings.push(trust::replaced(ABOUT, "cafile in .npmrc", &file, roots));
    }
    if set("strict-ssl").as_deref() == Some("false") {
        let mend = "take it out, and let npm trust the root with NODE_EXTRA_CA_CERTS";
        findings.push(Finding::warning(ABOUT, "strict-ssl in .npmrc is false: nothing that registries show is verified", mend));
    }
    findings
}

/// As npm reads a value: `${NAME}` is that variable, and stays as it is where that is not set.
fn expanded(value: &str, subject: &Subject) -> String {
    let (mut text, mut rest) = (String::new(), value);
    while let Some((before, (name, after))) = rest.split_once("${").and_then(|(before, behind)| Some((before, behind.split_once('}')?))) {
        text += before;
        match subject.surroundings.variables.get(name) {
            Some(set) => text += set,
            None => text += &format!("${{{name}}}"),
        }
        rest = after;
    }
    text + rest
}

/// It has no setting of its own: it goes by the environment.
fn copilot_cli(subject: &Subject) -> Option<Finding> {
    const ABOUT: &str = "copilot cli";
    let folder = subject.surroundings.variable("COPILOT_HOME").map_or_else(|| subject.surroundings.home.join(".copilot"), PathBuf::from);
    if !folder.is_dir() {
        return None;
    }
    let leads = |text: &str| written::read(text).is_ok_and(|proxy| proxy.leads_to(subject));
    Some(match variables::proxy_for_tls(subject) {
        Some(text) if leads(text) => Finding::ok(ABOUT, "it goes through this proxy, as the environment says"),
        _ => {
            let mend = format!("export HTTPS_PROXY=http://NAME:PASSWORD@{} before it is started", subject.here);
            Finding::warning(ABOUT, "it goes by the environment, which does not lead to this proxy", mend)
        }
    })
}
