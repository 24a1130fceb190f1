//! What commands that speak to a running proxy share: finding it, asking it, and tables.

use std::path::PathBuf;

use http::Method;
use serde::de::DeserializeOwned;

use super::{Failure, harmless_line, print, runtime, state_folder};
use crate::admin::{self, AskError};

/// Which running proxy is meant.
#[derive(Debug, clap::Args)]
pub(super) struct Running {
    /// Configuration file of the proxy that is meant; default: flowgate.toml in the working directory, if there is one
    #[arg(long, short, env = "FLOWGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// State folder of the proxy that is meant [default: ~/.local/state/flowgate]
    #[arg(long, env = "FLOWGATE_STATE", value_name = "FOLDER")]
    state: Option<PathBuf>,
}

impl Running {
    /// Asks it.
    ///
    /// # Errors
    /// It does not run, or says no.
    pub(super) fn ask<T: DeserializeOwned>(self, method: Method, target: &str) -> Result<T, Failure> {
        let socket = admin::path(&state_folder(self.state, self.config)?);
        let asked = runtime()?.block_on(admin::ask(&socket, method, target));
        asked.map_err(|error| match error {
            AskError::Refused(_) => Failure::Usage(error.into()),
            AskError::Absent { .. } | AskError::Broken(_) => Failure::Run(error.into()),
        })
    }
}

/// Characters that a cell has room for; what is longer moves the rest of its own row alone.
const WIDEST: usize = 80;

/// Columns as wide as what is in them, within bounds.
pub(super) struct Table<const N: usize>(Vec<[String; N]>);

impl<const N: usize> Table<N> {
    pub(super) fn new(heads: [&str; N]) -> Self {
        Self(vec![heads.map(str::to_owned)])
    }

    pub(super) fn row(&mut self, cells: [String; N]) {
        self.0.push(cells.map(|cell| harmless_line(&cell)));
    }

    pub(super) fn print(&self) {
        for line in self.lines() {
            print(format_args!("{line}"));
        }
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let width = |at: usize| self.0.iter().map(|row| row[at].chars().count().min(WIDEST)).max().unwrap_or_default();
        let widths: Vec<usize> = (0..N).map(width).collect();
        self.0.iter().map(move |row| {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            cells.join("  ").trim_end().to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_cell_moves_its_own_row_alone() {
        let mut table = Table::new(["URL", "STATUS"]);
        table.row(["http://a.test/".to_owned(), "200".to_owned()]);
        table.row(["x".repeat(8000), "404".to_owned()]);

        let lines: Vec<String> = table.lines().collect();

        assert_eq!(lines[0], format!("{:WIDEST$}  STATUS", "URL"));
        assert_eq!(lines[1], format!("{:WIDEST$}  200", "http://a.test/"));
        assert_eq!(lines[2], format!("{}  404", "x".repeat(8000)));
    }
}
