//! `flowgate ca`: the root certificate, for people and for their machines.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Subcommand;

use super::{Failure, print, put, state_folder};
use crate::tls::{Permitted, Root, rotation};

#[derive(Debug, Subcommand)]
pub(super) enum Ca {
    /// Say where it is, how to recognise it, and how long it is valid; makes it if there is none yet
    Show(Place),
    /// Write the certificate (never the key) to standard output or a file; while roots are rotated, both certificates
    Export {
        #[command(flatten)]
        place: Place,
        /// Write to this file instead; it is replaced if it exists
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Write DER instead of PEM, as Windows and Android like it: one certificate only
        #[arg(long)]
        der: bool,
        /// Write the next root's certificate only
        #[arg(long)]
        next: bool,
    },
    /// Make the root certificate before the first start, if it is to sign for some names only
    Create {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        permit: Permit,
    },
    /// Make the next root certificate beside the one in use, and with --finish put it in its place
    ///
    /// In between, let clients trust both: `ca export` and the proxy's own page give both. The running proxy takes the new one at its next
    /// start.
    Rotate {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        permit: Permit,
        /// Let the next root sign for all names, although the one in use may not; without this and --permit it may sign for the same
        #[arg(long, conflicts_with_all = ["permit", "finish"])]
        permit_everything: bool,
        /// The next root becomes the one in use; the key of the old one is deleted
        #[arg(long, conflicts_with = "permit")]
        finish: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Permit {
    /// Domain (with all below it), address or network that the root may sign for, and nothing else; may be repeated. Other hosts are never
    /// looked into then
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    permit: Vec<String>,
}

impl Permit {
    fn parse(&self) -> Result<Permitted, Failure> {
        Permitted::parse(&self.permit).map_err(|error| Failure::Usage(error.context("--permit")))
    }
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
    fn folder(self) -> Result<PathBuf, Failure> {
        state_folder(self.state, self.config)
    }
}

pub(super) fn run(command: Ca) -> Result<(), Failure> {
    match command {
        Ca::Show(place) => {
            let folder = place.folder()?;
            show("certificate", &Root::open_or_create(&folder)?);
            if let Some(next) = rotation::next(&folder)? {
                show("next", &next);
            }
        }
        Ca::Export { place, out, der, next } => export(&place.folder()?, out, der, next)?,
        Ca::Create { place, permit } => {
            let permitted = permit.parse()?;
            show("certificate", &Root::create(&place.folder()?, &permitted)?);
        }
        Ca::Rotate { place, finish: true, .. } => {
            show("certificate", &rotation::finish(&place.folder()?)?);
            print(format_args!("restart the proxy; then take the certificate in flowgate-ca-previous.pem out of the clients"));
        }
        Ca::Rotate { place, permit, permit_everything, finish: false } => {
            let permitted = permit.parse()?;
            let is_said = permit_everything || !permitted.is_everything();
            show("next", &rotation::begin(&place.folder()?, is_said.then_some(&permitted))?);
            print(format_args!("let all clients trust it too (`flowgate ca export` gives both), then run `flowgate ca rotate --finish`"));
        }
    }
    Ok(())
}

fn show(which: &str, root: &Root) {
    print(format_args!("{which:<12} {}", root.certificate_path().display()));
    print(format_args!("subject      {}", root.subject()));
    print(format_args!("valid        {} to {}", root.not_before().date(), root.not_after().date()));
    print(format_args!("SHA-256      {}", root.fingerprint()));
    if !root.permitted().is_everything() {
        print(format_args!("signs for    {}", root.permitted()));
    }
}

fn export(folder: &std::path::Path, out: Option<PathBuf>, der: bool, only_next: bool) -> anyhow::Result<()> {
    let next = rotation::next(folder)?;
    let (pem, chosen) = if only_next {
        let next = next.context("there is no next root certificate: `flowgate ca rotate` makes it")?;
        (next.certificate_pem().to_owned(), next.certificate_der().clone())
    } else {
        let (pem, chosen) = Root::certificate(folder)?;
        (pem + next.as_ref().map_or("", Root::certificate_pem), chosen)
    };
    let octets = if der { chosen.to_vec() } else { pem.into_bytes() };
    match out {
        Some(path) => fs::write(&path, octets).with_context(|| format!("writing {}", path.display())),
        None => {
            put(&octets);
            Ok(())
        }
    }
}
