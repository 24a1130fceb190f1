//! `flowgate why`: what plugins did to one flow.

use http::Method;

use super::{
    Failure, flow_number, harmless_line,
    plugin::micros,
    print,
    running::{Running, Table},
};
use crate::plugin::Explanation;

#[derive(Debug, clap::Args)]
pub(super) struct Why {
    /// The flow's number, as it stands in diagnostics (flow=17) and in the list; without one, the latest flows are listed
    #[arg(value_parser = flow_number)]
    flow: Option<u64>,
    /// How many flows to list
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    latest: usize,
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    running: Running,
}

pub(super) fn run(why: Why) -> Result<(), Failure> {
    let target = match why.flow {
        Some(flow) => format!("/v1/flows/{flow}"),
        None => format!("/v1/flows?most={}", why.latest),
    };
    if why.json {
        let json: serde_json::Value = why.running.ask(Method::GET, &target)?;
        print(format_args!("{json:#}"));
        return Ok(());
    }
    match why.flow {
        Some(_) => explain(why.running.ask(Method::GET, &target)?),
        None => list(why.running.ask(Method::GET, &target)?),
    }
    Ok(())
}

fn list(flows: Vec<Explanation>) {
    if flows.is_empty() {
        return print(format_args!("there was no flow yet that a plugin wanted"));
    }
    let mut table = Table::new(["FLOW", "TIME", "USER", "METHOD", "URL", "STATUS", "OUTCOME"]);
    for flow in flows {
        let status = flow.status.map_or("-".to_owned(), |status| status.to_string());
        table.row([flow.flow.to_string(), time(flow.began), flow.user.unwrap_or("-".into()), flow.method, flow.url, status, flow.outcome]);
    }
    table.print();
}

/// As diagnostics have it.
pub(super) fn time(micros: u64) -> String {
    const FORMAT: &[time::format_description::BorrowedFormatItem<'_>] =
        time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]Z");
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000);
    time.ok().and_then(|time| time.format(FORMAT).ok()).unwrap_or_default()
}

fn explain(explanation: Explanation) {
    let Explanation { flow, user, method, url, status, outcome, steps, tags, began } = explanation;
    let status = status.map_or("no response".to_owned(), |status| status.to_string());
    let user = user.as_deref().unwrap_or("somebody unknown");
    let line = |text: String| print(format_args!("{}", harmless_line(&text)));
    line(format!("flow {flow} of {}: {method} {url} for {user}: {status}, {outcome}", time(began)));
    let mut table = Table::new(["PLUGIN", "VERSION", "HASH", "HOOK", "CALLS", "TIME", "SAID", "CHANGED"]);
    let any = !steps.is_empty();
    let mut failures = Vec::new();
    for step in steps {
        let changes = step.changes.join(", ");
        // Why a call failed is too long for a column.
        let said = match step.said.strip_prefix("failed: ") {
            Some(why) => {
                failures.push(format!("{} failed in {}: {why}", step.plugin, step.hook));
                "failed".to_owned()
            }
            None => step.said,
        };
        table.row([step.plugin, step.version, step.hash, step.hook, step.calls.to_string(), micros(step.micros), said, changes]);
    }
    match any {
        true => table.print(),
        false => print(format_args!("no plugin was called about it (yet)")),
    }
    failures.into_iter().for_each(line);
    tags.into_iter().for_each(|(key, value)| line(format!("tag {key} = {value}")));
}
