//! A configuration as a `flowgate.toml` that would give the same one.
//!
//! Place: what `flowgate check` prints.

use std::{fmt, path::Path};

use toml::Value;

use super::{
    Config, OnFailure,
    units::{show_duration, show_size},
};

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(f, "listen", list(self.listen.iter().map(ToString::to_string)))?;
        line(f, "listen-tls", list(self.listen_tls.iter().map(ToString::to_string)))?;
        line(f, "open", self.open)?;
        line(f, "proxy-protocol", list(self.proxy_protocol.iter().map(ToString::to_string)))?;
        line(f, "plugins-dir", path(&self.plugins_dir))?;
        line(f, "logs", path(&self.logs_dir))?;
        line(f, "state", path(&self.state_dir))?;
        line(f, "auth", self.auth.as_str())?;
        if let Some(users) = &self.users {
            line(f, "users", path(users))?;
        }
        line(f, "upstream-ca", list(self.upstream_ca.iter().map(|file| path(file))))?;
        if let Some(url) = &self.upstream_proxy {
            line(f, "upstream-proxy", without_password(url))?;
        }
        line(f, "no-proxy", list(self.no_proxy.iter().cloned()))?;
        line(f, "intercept", list(self.intercept.iter().cloned()))?;
        line(f, "tunnel", list(self.tunnel.iter().cloned()))?;
        if let Some(period) = self.auto_splice {
            line(f, "auto-splice", show_duration(period))?;
        }
        line(f, "resolve", list(self.resolve.iter().map(|((host, port), address)| fixed(host, *port, address))))?;
        if let Some(file) = &self.record {
            line(f, "record", path(file))?;
        }
        line(f, "capture", show_size(self.capture_bytes))?;
        line(f, "grace", show_duration(self.grace))?;
        writeln!(f, "\n[admin]")?;
        if let Some(address) = self.admin.listen {
            line(f, "listen", address.to_string())?;
        }
        line(f, "names", list(self.admin.names.iter().cloned()))?;
        if let Some(file) = &self.admin.token_file {
            line(f, "token-file", path(file))?;
        }
        line(f, "content", self.admin.content)?;
        writeln!(f, "\n[destinations]")?;
        line(f, "allow", list(self.destinations.allow.iter().map(ToString::to_string)))?;
        line(f, "deny", list(self.destinations.deny.iter().map(ToString::to_string)))?;
        if let Some(ports) = &self.destinations.connect_ports {
            line(f, "connect-ports", ports.iter().map(|port| i64::from(*port)).collect::<Vec<_>>())?;
        }
        writeln!(f, "\n[limits]")?;
        for (key, count) in self.limits.counts() {
            line(f, key, i64::try_from(count).map_err(|_| fmt::Error)?)?;
        }
        for (key, time) in self.limits.times() {
            line(f, key, show_duration(time))?;
        }
        line(f, "captured", show_size(self.limits.captured_bytes))?;
        if !self.records.is_empty() {
            writeln!(f, "\n[records]")?;
        }
        if let Some(age) = self.records.max_age {
            line(f, "max-age", show_duration(age))?;
        }
        if let Some(count) = self.records.max_count {
            line(f, "max-count", i64::try_from(count).map_err(|_| fmt::Error)?)?;
        }
        if let Some(octets) = self.records.max_size_bytes {
            line(f, "max-size", show_size(octets))?;
        }
        writeln!(f, "\n[redaction]")?;
        for (key, rules) in [("fields", &self.redaction.fields), ("json", &self.redaction.json), ("patterns", &self.redaction.patterns)] {
            line(f, key, list(rules.iter().cloned()))?;
        }
        writeln!(f, "\n[swap]")?;
        line(f, "replay", self.swap_replay as i64)?;
        if let Some(endpoint) = &self.traces.endpoint {
            writeln!(f, "\n[traces]")?;
            line(f, "endpoint", endpoint.as_str())?;
            line(f, "ratio", self.traces.ratio)?;
            line(f, "users", self.traces.users)?;
            if let Some(file) = &self.traces.headers_file {
                line(f, "headers-file", path(file))?;
            }
        }
        for (hosts, origin) in &self.origins {
            writeln!(f, "\n[origins.{}]", key(hosts))?;
            line(f, "accept-any-certificate", origin.accept_any_certificate)?;
            line(f, "ca", list(origin.ca.iter().map(|file| path(file))))?;
            if let Some((certificate, key)) = &origin.client {
                line(f, "client-certificate", path(certificate))?;
                line(f, "client-key", path(key))?;
            }
        }
        for (name, plugin) in &self.plugins {
            writeln!(f, "\n[plugins.{}]", key(name))?;
            line(f, "enabled", plugin.enabled)?;
            line(f, "order", i64::from(plugin.order))?;
            line(f, "on-failure", if plugin.on_failure == OnFailure::Refuse { "refuse" } else { "pass" })?;
            line(f, "required", plugin.required)?;
            line(f, "memory", show_size(plugin.memory_bytes))?;
            line(f, "call", show_duration(plugin.call))?;
            line(f, "wall", show_duration(plugin.wall))?;
            line(f, "instances", plugin.instances as i64)?;
            line(f, "grants", list(plugin.grants.iter().map(|grant| grant.as_str().to_owned())))?;
            line(f, "outbound", list(plugin.outbound.iter().map(ToString::to_string)))?;
            line(f, "key-value", show_size(plugin.key_value_bytes))?;
            line(f, "host-calls", i64::try_from(plugin.host_calls).map_err(|_| fmt::Error)?)?;
            line(f, "output", show_size(plugin.output_bytes))?;
            line(f, "log-lines", i64::from(plugin.log_lines))?;
            line(f, "streams", plugin.streams as i64)?;
            // Came out of TOML, which has no null.
            line(f, "config", Value::try_from(&plugin.config).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, key: &str, value: impl Into<Value>) -> fmt::Result {
    writeln!(f, "{key} = {}", value.into())
}

/// The user, if there is one, and stars for the password: this is shown to people and kept in tickets.
fn without_password(url: &str) -> String {
    let Some((before, host)) = url.rsplit_once('@') else { return url.to_owned() };
    let Some((scheme, credentials)) = before.split_once("://") else { return format!("***@{host}") };
    let (user, colon) = credentials.split_once(':').map_or((credentials, ""), |(user, _)| (user, ":***"));
    format!("{scheme}://{user}{colon}@{host}")
}

/// Bare where TOML allows it.
fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'));
    if bare { name.to_owned() } else { Value::from(name).to_string() }
}

fn list(items: impl Iterator<Item = String>) -> Value {
    items.map(Value::from).collect::<Vec<_>>().into()
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn fixed(host: &str, port: u16, address: &std::net::SocketAddr) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}={address}"),
        false => format!("{host}:{port}={address}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::raw::File, *};
    use crate::config::{Flags, Surroundings};

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("http://a.test:1", "http://a.test:1"),
            ("http://ana@a.test:1", "http://ana@a.test:1"),
            ("http://ana:hunter2@a.test:1", "http://ana:***@a.test:1"),
            ("http://ana:hunter2@hunter2:hunter2@a.test", "http://ana:***@a.test"),
            ("http:/ana:hunter2@a.test", "***@a.test"),
            ("http:ana:hunter2@a.test", "***@a.test"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn what_is_shown_gives_the_same_again() {
        let here = || Surroundings { folder: "/srv".into(), state: Some("/state".into()) };
        let file = "users = 'a \"b\"'\nproxy-protocol = ['10.0.0.5', 'fd00::/8']\nlisten = ['127.0.0.1:1', '[::1]:2']\nresolve = ['[::1]:443=127.0.0.1:1', 'a.test:80=127.0.0.1:2']\n\
                    upstream-ca = 'x.pem'\ntunnel = '*.a.test'\ngrace = '1500ms'\n[admin]\nlisten = '[::1]:8081'\nnames = 'A.test'\n\
                    token-file = 't'\ncontent = false\n[origins.'*.b.test']\nca = 'y.pem'\nclient-certificate = 'c.pem'\n\
                    [limits]\nhandshakes = 7\nleaves-per-client = 3\ncaptured = '1MiB'\ncontent-idle = '1h'\n[records]\nmax-age = '30d'\nmax-count = 9\nmax-size = '10GiB'\n[swap]\nreplay = 7\n[traces]\nendpoint = 'http://a.test:4318'\nratio = 0.5\nusers = true\nheaders-file = 'h'\n[plugins.'odd name']\norder = 3\non-failure = 'refuse'\n\
                    grants = 'key-value'\noutbound = ['https://a.test', 'http://[::1]:8080']\nkey-value = '1MiB'\nhost-calls = 5\noutput = '1MiB'\nlog-lines = 7\nstreams = 3\n\
                    config = { a = [1, 2.5, true], b = { c = 'd' } }";
        let first = Config::resolve(Flags::default(), Some(("/etc/f.toml".into(), File::parse(file).unwrap())), &here()).unwrap();

        let shown = File::parse(&first.to_string()).unwrap_or_else(|error| panic!("{error:#}\n{first}"));
        let second = Config::resolve(Flags::default(), Some(("/etc/f.toml".into(), shown)), &here()).unwrap();

        assert_eq!(first, second);
    }
}
