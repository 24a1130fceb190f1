//! `flowgate doctor`: what keeps a client, or this proxy, from working.

use std::{
    fmt::Write as _,
    io::{self, BufRead},
};

use anyhow::Context;
use clap::ValueEnum;

use super::{Failure, looked_up, print, runtime, user};
use crate::{
    config::Flags,
    doctor::{self, Finding, Here, Premises, Subject, Surroundings, Verdict},
};

#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    /// Who the client is to be, as its settings should say
    #[arg(long, value_name = "NAME", value_parser = user::name)]
    user: Option<String>,
    /// Take that user's password from the first line of standard input; without it, what the environment's proxy variables say is tried
    #[arg(long, requires = "user")]
    password_stdin: bool,
    /// The proxy is at that address, on this or another machine: only the client's side is looked at
    #[arg(long, value_name = "HOST:PORT", value_parser = through)]
    through: Option<Here>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// A list of objects
    Json,
}

fn through(text: &str) -> Result<Here, &'static str> {
    const EXPECTED: &str = "host and port of the proxy are expected, as in proxy.example:8080";
    let (host, port) = text.trim_start_matches("http://").trim_end_matches('/').rsplit_once(':').ok_or(EXPECTED)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.is_empty() || bare.contains(['/', '@', ' ']) {
        return Err(EXPECTED);
    }
    Ok(Here { host: bare.to_owned(), port: port.parse().map_err(|_| EXPECTED)?, is_everywhere: false })
}

pub(super) fn run(command: Doctor) -> Result<(), Failure> {
    let password = command.password_stdin.then(password).transpose()?;
    let (here, premises) = match command.through {
        Some(here) => (here, None),
        None => {
            let config = looked_up(command.flags)?;
            let address = config.listen.first().context("the configuration names no address")?;
            // Who listens on all addresses is reached on this machine's own.
            let is_everywhere = address.ip().is_unspecified();
            let host = if is_everywhere { "localhost".to_owned() } else { address.ip().to_string() };
            (Here { host, port: address.port(), is_everywhere }, Some(Premises { state: config.state_dir, logs: config.logs_dir }))
        }
    };
    let subject = Subject { here, user: command.user, password, surroundings: Surroundings::current(), premises };
    let findings = runtime()?.block_on(doctor::examine(&subject));
    match command.format {
        Format::Text => print(format_args!("{}", shown(&findings).trim_end())),
        Format::Json => print(format_args!("{}", serde_json::to_string_pretty(&findings).context("writing JSON")?)),
    }
    match findings.iter().filter(|finding| finding.verdict == Verdict::Fault).count() {
        0 => Ok(()),
        1 => Err(anyhow::anyhow!("1 fault was found").into()),
        many => Err(anyhow::anyhow!("{many} faults were found").into()),
    }
}

fn password() -> anyhow::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// One line each, and below it what to do.
fn shown(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.about.len()).max().unwrap_or_default();
    let mut text = String::new();
    for finding in findings {
        let _ = writeln!(text, "{:7}  {:width$}  {}", finding.verdict.as_str(), finding.about, finding.what);
        if let Some(mend) = &finding.mend {
            let _ = writeln!(text, "{:7}  {:width$}  → {mend}", "", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let here = |host: &str, port| Ok(Here { host: host.to_owned(), port, is_everywhere: false });
        assert_eq!(through("proxy.example:8080"), here("proxy.example", 8080));
        assert_eq!(through("http://[::1]:1/"), here("::1", 1));
        for bad in ["proxy.example", ":80", "ana:pw@proxy:80", "https://proxy:80", "proxy:http", ""] {
            assert!(through(bad).is_err(), "{bad}");
        }
    }
}
