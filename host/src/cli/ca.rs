//! `flowgate ca`: the root certificate, for people and for their machines.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Context;
use clap::Subcommand;

use super::{Failure, configured, print};
use crate::{config::Flags, tls::Root};

#[derive(Debug, Subcommand)]
pub(super) enum Ca {
    /// Say where it is, how to recognise it, and how long it is valid; makes it if there is none yet
    Show(Place),
    /// Write the certificate (never the key) to standard output or a file
    Export {
        #[command(flatten)]
        place: Place,
        /// Write to this file instead; it is replaced if it exists
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Write DER instead of PEM, as Windows and Android like it
        #[arg(long)]
        der: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// Folder of the root certificate [default: as for run]
    #[arg(long, env = "FLOWGATE_STATE", value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Configuration file to find that folder in; default: flowgate.toml in the working directory, if there is one
    #[arg(long, short, env = "FLOWGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Place {
    fn root(self) -> Result<Root, Failure> {
        let config = configured(Flags { state: self.state, config: self.config, ..Flags::default() })?;
        Ok(Root::open_or_create(&config.state_dir)?)
    }
}

pub(super) fn run(command: Ca) -> Result<(), Failure> {
    match command {
        Ca::Show(place) => show(&place.root()?),
        Ca::Export { place, out, der } => export(&place.root()?, out, der)?,
    }
    Ok(())
}

fn show(root: &Root) {
    print(format_args!("certificate  {}", root.certificate_path().display()));
    print(format_args!("subject      {}", root.subject()));
    print(format_args!("valid        {} to {}", root.not_before().date(), root.not_after().date()));
    print(format_args!("SHA-256      {}", root.fingerprint()));
}

fn export(root: &Root, out: Option<PathBuf>, der: bool) -> anyhow::Result<()> {
    let octets = if der { root.certificate_der().as_ref() } else { root.certificate_pem().as_bytes() };
    match out {
        Some(path) => fs::write(&path, octets).with_context(|| format!("writing {}", path.display())),
        None => io::stdout().write_all(octets).and_then(|()| io::stdout().flush()).context("writing to standard output"),
    }
}
