//! `flowgate records`: the folder of records.

use std::{path::PathBuf, time::Duration, time::SystemTime};

use anyhow::anyhow;
use clap::Subcommand;

use super::{Failure, environment, looked_up, print};
use crate::{
    app,
    config::{Flags, RecordsConfig, units},
    record,
};

#[derive(Debug, Subcommand)]
pub(super) enum Records {
    /// Delete records that are older or more than is to be kept; a running proxy does it by itself where its configuration says so
    ///
    /// The newest record of each folder stays in any case. What is not said here is taken from [records] of the configuration.
    Prune(Prune),
}

#[derive(Debug, clap::Args)]
pub(super) struct Prune {
    /// Say what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Delete records older than that, as in 30d
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    max_age: Option<Duration>,
    /// Delete the oldest while there are more than that
    #[arg(long, value_name = "COUNT")]
    max_count: Option<usize>,
    /// Delete the oldest while all take more than that, as in 10GiB
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    max_size: Option<usize>,
    /// Folder with records [default: as for run]
    #[arg(long, env = "FLOWGATE_LOGS", value_name = "FOLDER")]
    logs: Option<PathBuf>,
    /// State folder, of which nothing is to be deleted [default: as for run]
    #[arg(long, env = "FLOWGATE_STATE", value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Folder with plugins, of which nothing is to be deleted [default: as for run]
    #[arg(long, env = "FLOWGATE_PLUGINS", value_name = "FOLDER")]
    plugins: Option<PathBuf>,
    /// Configuration file to find all that in; default: flowgate.toml in the working directory, if there is one
    #[arg(long, short, env = "FLOWGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(command: Records) -> Result<(), Failure> {
    let Records::Prune(prune) = command;
    let Prune { logs, state, plugins, config, .. } = prune;
    // Whatever else the proxy is told by variables may lie there, too.
    let config = looked_up(Flags { logs, state, plugins, config, ..environment()? })?;
    let wanted = RecordsConfig {
        max_age: prune.max_age.or(config.records.max_age),
        max_count: prune.max_count.or(config.records.max_count),
        max_size_bytes: prune.max_size.or(config.records.max_size_bytes),
    };
    let wanted = wanted.checked().map_err(Failure::Usage)?;
    if wanted.is_empty() {
        return Err(Failure::Usage(anyhow!(
            "nothing says which records are old: use --max-age, --max-count or --max-size, or write [records] into the configuration"
        )));
    }
    config.check_records(&wanted).map_err(Failure::Usage)?;
    let retention = app::retention(&wanted);
    let pruned = record::prune(&config.logs_dir, &retention, SystemTime::now(), prune.dry_run, &|| false);
    let pruned = pruned.map_err(|error| anyhow!("reading the records in {}: {error}", config.logs_dir.display()))?;
    print(format_args!("{}: {pruned}", if prune.dry_run { "would be deleted" } else { "deleted" }));
    match pruned.failed {
        0 => Ok(()),
        failed => Err(anyhow!("{failed} old records could not be deleted: they are in use, or belong to somebody else").into()),
    }
}
