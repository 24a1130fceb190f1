//! The subscriptions of all plugins in service, in one structure: which rules of which plugins may want a flow to a host.
//!
//! Place: part of a `set`, made with it. Rules are found by what their host patterns begin or end with and then looked at one by one, so
//! that a flow costs what those cost that may want it, and nothing for plugins that want other hosts. Looking allocates nothing.

use std::{collections::BTreeMap, ops::ControlFlow};

use super::rules::{Matched, Rules, plain};
use crate::hooks::Probe;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Matcher {
    /// Rules without a condition on hosts, or with a pattern that begins and ends with a star.
    everywhere: Vec<Candidate>,
    /// By what follows the last star of a pattern, read backwards.
    ends: Index,
    /// By what goes before the first star, where nothing follows the last.
    begins: Index,
}

/// A rule of a plugin.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Candidate {
    /// The plugin's place in the set.
    plugin: usize,
    rule: usize,
}

impl Matcher {
    /// Of those plugins: their places in the set, and their rules.
    pub(super) fn new<'a>(plugins: impl Iterator<Item = (usize, &'a Rules)>) -> Self {
        let (mut everywhere, mut ends, mut begins) = (Vec::new(), Keys::new(), Keys::new());
        for (plugin, rules) in plugins {
            for (rule, hosts) in rules.hosts() {
                let candidate = Candidate { plugin, rule };
                if hosts.is_empty() {
                    everywhere.push(candidate);
                }
                for host in hosts {
                    let (begin, end) = host.literal_ends();
                    let mut key: Vec<u8> = if end.is_empty() { begin.to_vec() } else { end.iter().rev().copied().collect() };
                    key.make_ascii_lowercase();
                    match (end.is_empty(), begin.is_empty()) {
                        (false, _) => ends.entry(key).or_default().push(candidate),
                        (true, false) => begins.entry(key).or_default().push(candidate),
                        (true, true) => everywhere.push(candidate),
                    }
                }
            }
        }
        Self { everywhere, ends: Index::new(ends), begins: Index::new(begins) }
    }

    /// The plugins that want the flow as far as can be told from the request, in their order, with the rules that match. Allocates only if
    /// there are any.
    pub(super) fn matching<'a>(&self, request: &Probe<'_>, rules: impl Fn(usize) -> &'a Rules) -> Vec<(usize, Matched)> {
        let mut matching: Vec<(usize, Matched)> = Vec::new();
        let _ = self.each(request.host, |Candidate { plugin, rule }| {
            if rules(plugin).holds(rule, request) {
                match matching.binary_search_by_key(&plugin, |(plugin, _)| *plugin) {
                    Ok(at) => matching[at].1.add(rule),
                    Err(at) => matching.insert(at, (plugin, Matched::only(rule))),
                }
            }
            ControlFlow::Continue(())
        });
        matching
    }

    /// Whether any rule may match flows to that host.
    pub(super) fn want_host<'a>(&self, host: &str, rules: impl Fn(usize) -> &'a Rules) -> bool {
        let found = self.each(host, |Candidate { plugin, rule }| match rules(plugin).holds_for_host(rule, host) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        found.is_break()
    }

    /// Every rule whose condition on hosts may hold, some of them more than once, in no order.
    fn each(&self, host: &str, mut each: impl FnMut(Candidate) -> ControlFlow<()>) -> ControlFlow<()> {
        let host = plain(host);
        self.everywhere.iter().copied().try_for_each(&mut each)?;
        self.ends.each(host.iter().rev(), &mut each)?;
        self.begins.each(host.iter(), &mut each)
    }
}

type Keys = BTreeMap<Vec<u8>, Vec<Candidate>>;

/// Finds all keys that a text begins with.
#[derive(Debug, Default)]
struct Index {
    /// Sorted.
    keys: Vec<Key>,
}

type Key = (Box<[u8]>, Box<[Candidate]>);

impl Index {
    fn new(keys: Keys) -> Self {
        Self { keys: keys.into_iter().map(|(key, candidates)| (key.into(), candidates.into())).collect() }
    }

    /// Letter case aside. Narrows the keys down octet by octet: those that end are found, those that differ are gone.
    fn each<'a>(&self, text: impl Iterator<Item = &'a u8>, each: &mut impl FnMut(Candidate) -> ControlFlow<()>) -> ControlFlow<()> {
        let (mut left, mut text) = (&*self.keys, text.map(u8::to_ascii_lowercase));
        for depth in 0.. {
            // Of keys that are alike so far, the one that ends here is the first.
            if let Some(((key, candidates), longer)) = left.split_first()
                && key.len() == depth
            {
                candidates.iter().copied().try_for_each(&mut *each)?;
                left = longer;
            }
            if left.is_empty() {
                break;
            }
            let Some(octet) = text.next() else { break };
            let from = left.partition_point(|(key, _)| key[depth] < octet);
            left = &left[from..];
            left = &left[..left.partition_point(|(key, _)| key[depth] == octet)];
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::plugin::bindings::exports::flowgate::plugin::lifecycle::{BodyMode, Framing, Rule};

    fn compiled(rules: &[(Vec<String>, Vec<String>)]) -> Rules {
        let rules: Vec<Rule> = rules
            .iter()
            .map(|(hosts, paths)| Rule {
                hosts: hosts.clone(),
                methods: Vec::new(),
                paths: paths.clone(),
                content_types: Vec::new(),
                request_body: BodyMode::Skip,
                response_body: BodyMode::Skip,
                framing: Framing::AsReceived,
                limit: 0,
            })
            .collect();
        Rules::compile(&rules, 1).expect("good rules")
    }

    fn plugins(hosts: &[&[&str]]) -> Vec<Rules> {
        let owned = |hosts: &&[&str]| compiled(&[(hosts.iter().map(|host| (*host).to_owned()).collect(), Vec::new())]);
        hosts.iter().map(owned).collect()
    }

    fn wanting(plugins: &[Rules], host: &str) -> Vec<usize> {
        let matcher = Matcher::new(plugins.iter().enumerate());
        let probe = Probe { host, method: &Method::GET, path: b"/" };
        matcher.matching(&probe, |at| &plugins[at]).into_iter().map(|(at, _)| at).collect()
    }

    #[test]
    fn those_who_want_a_host_are_found_in_their_order() {
        let plugins = plugins(&[
            &["*.example.test", "example.test"],
            &[],
            &["API.*"],
            &["*exam*"],
            &["api.example.test", "api.example.test", "*.test"],
            &["*"],
            &["api.*.test"],
            &["other.test"],
        ]);

        assert_eq!(wanting(&plugins, "api.Example.test."), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(wanting(&plugins, "example.test"), [0, 1, 3, 4, 5]);
        assert_eq!(wanting(&plugins, "api.other"), [1, 2, 5]);
        assert_eq!(wanting(&plugins, ""), [1, 5]);
    }

    proptest! {
        #[test]
        fn the_matcher_agrees_with_asking_every_plugin(
            subscriptions in vec(vec((vec("[abA.*]{0,5}", 0..3), vec("[/a*]{0,3}", 0..2)), 0..4), 0..6),
            host in "[abAB.]{0,7}",
            path in "[/ab]{0,4}",
        ) {
            let plugins: Vec<Rules> = subscriptions.iter().map(|rules| compiled(rules)).collect();
            let matcher = Matcher::new(plugins.iter().enumerate());
            let probe = Probe { host: &host, method: &Method::GET, path: path.as_bytes() };

            let each = plugins.iter().map(|rules| rules.matching(&probe)).enumerate();
            let expected: Vec<(usize, Matched)> = each.filter(|(_, matched)| !matched.is_none()).collect();
            prop_assert_eq!(matcher.matching(&probe, |at| &plugins[at]), expected);
            prop_assert_eq!(matcher.want_host(&host, |at| &plugins[at]), plugins.iter().any(|rules| rules.want_host(&host)));
        }
    }
}
