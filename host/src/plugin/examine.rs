//! What can be said of a component before it is put into a plugins folder.
//!
//! Place: behind `flowgate plugin check`. Loads it as a proxy would, twice, in a cache of its own; nothing of a running proxy is touched.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{
    bindings::exports::flowgate::plugin::lifecycle::{self, BodyMode, InstanceMode},
    build::PluginInfo,
    cache::CacheFolder,
    capability::log::sanitised,
    doubt::doubts,
    grants,
    hash::Hash,
    instance::Failure,
    load::{Code, Loader, Source},
    means::Means,
    scene::Scene,
    settings::{Grant, Settings},
    shape::Shape,
    stage,
};
use crate::{record::Writer, tasks::Tasks};

/// See the module.
#[derive(Debug)]
pub struct Examined {
    /// What it is and uses.
    pub info: PluginInfo,
    /// It has one instance only.
    pub is_singleton: bool,
    /// The contract's version that it was built for.
    pub contract: String,
    /// Capabilities that it imports, and how it may.
    pub imports: Vec<(String, Standing)>,
    /// Interfaces of WASI that it imports besides.
    pub wasi: usize,
    /// What it subscribes to with that configuration, a line each.
    pub rules: Vec<String>,
    /// Which of their patterns match nothing, a sentence each.
    pub doubts: Vec<String>,
    /// Octets of the component.
    pub size: usize,
    /// How long loading it took with nothing in the cache, and with its machine code there.
    pub loading: [Duration; 2],
    /// What it imports and these settings do not grant, with the lines to write.
    pub ungranted: Option<String>,
}

/// How a plugin has a capability.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// As every plugin.
    Free,
    /// These settings grant it.
    Granted,
    /// They do not.
    Ungranted,
}

/// Looks at the component in `file` under the settings there are for it.
///
/// # Errors
/// It cannot be read or loaded; says what helps.
pub async fn examine(file: &Path, settings: Settings) -> anyhow::Result<Examined> {
    let name = stage::name(file)?;
    let octets = stage::read(file, settings.limits.component_bytes)?;
    let loading = || format!("loading {}", file.display());
    let own = settings.plugins.get(&name).cloned().unwrap_or_default();
    let mut settings = stage::staged(Settings { cache: CacheFolder::passing()?, ..settings });
    settings.plugins.entry(name.clone()).or_default().grants = Grant::ALL.into();
    let hash = Hash::of(&octets);
    let mut took = [Duration::ZERO; 2];
    let mut builds = Vec::new();
    for took in &mut took {
        let scene = Scene::noting();
        let means = Arc::new(Means::staged(Writer::start(crate::record::Limits::default())?, Arc::new(()), &settings, &scene));
        let loader = Loader::staged(&settings, means, Tasks::new(), scene)?;
        let source = Source { name: name.clone(), code: Code::Octets(octets.clone()), hash, file: Some(file.to_owned()) };
        let began = Instant::now();
        builds.push(loader.load(source, &settings).await.with_context(loading)?);
        *took = began.elapsed();
    }
    let build = &builds[0];
    let registration = build.pool.registration().await.map_err(Failure::starting)?;
    // It was compiled, so its names could be read.
    let shape = Shape::read(&octets).unwrap_or_default();
    let standing = |capability: &String| match Grant::named(capability) {
        None => Standing::Free,
        Some(grant) if own.grants.contains(&grant) => Standing::Granted,
        Some(_) => Standing::Ungranted,
    };
    Ok(Examined {
        info: build.info.clone(),
        contract: shape.version().to_owned(),
        imports: build.info.capabilities.iter().map(|capability| (capability.clone(), standing(capability))).collect(),
        wasi: shape.wasi(),
        is_singleton: registration.instances == InstanceMode::Singleton,
        rules: registration.rules.iter().map(told).collect(),
        doubts: doubts(&registration.rules),
        size: octets.len(),
        loading: took,
        ungranted: grants::check(&build.info.capabilities, &name, &own).err().map(|error| error.to_string()),
    })
}

fn told(rule: &lifecycle::Rule) -> String {
    let some = |what: &str, list: &[String]| match list {
        [] => String::new(),
        list => format!("{what} {}; ", list.iter().map(|pattern| sanitised(pattern)).collect::<Vec<_>>().join(", ")),
    };
    let mode = |mode| match mode {
        BodyMode::Skip => "skip",
        BodyMode::Capture => "capture",
        BodyMode::Chunks => "chunks",
        BodyMode::Whole => "whole",
    };
    let which = format!(
        "{}{}{}{}",
        some("hosts", &rule.hosts),
        some("methods", &rule.methods),
        some("paths", &rule.paths),
        some("content types", &rule.content_types)
    );
    let which = if which.is_empty() { "every flow; ".to_owned() } else { which };
    let limit = if rule.limit == 0 { String::new() } else { format!(", at most {} octets", rule.limit) };
    format!("{which}request {}, response {}{limit}", mode(rule.request_body), mode(rule.response_body))
}

#[cfg(test)]
mod tests {
    use super::{super::bindings::exports::flowgate::plugin::lifecycle::Framing, *};

    #[test]
    fn no_terminal_obeys_a_pattern() {
        let rule = lifecycle::Rule {
            hosts: vec!["a.test".into()],
            methods: Vec::new(),
            paths: vec!["*\u{1b}[2J\ngood".into(), "/b".into()],
            content_types: Vec::new(),
            request_body: BodyMode::Skip,
            response_body: BodyMode::Whole,
            framing: Framing::AsReceived,
            limit: 0,
        };

        assert_eq!(told(&rule), "hosts a.test; paths *\\u{1b}[2J\\ngood, /b; request skip, response whole");
    }
}
