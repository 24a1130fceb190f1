//! `flowgate user`: who may log in.

use std::{
    io::{self, BufRead},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use clap::Subcommand;

use super::{Failure, print};
use crate::auth::{self, Change, Password, Scheme, Users};

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Add a user, or give one another password; asks for it twice
    ///
    /// A running proxy sees the change within a second.
    Add {
        /// What the user logs in as, and what stands in the records
        #[arg(value_parser = name)]
        name: String,
        #[command(flatten)]
        file: UsersFile,
        /// Take the password from the first line of standard input instead
        #[arg(long)]
        password_stdin: bool,
        /// Hash with argon2id (the default)
        #[arg(long, conflicts_with = "bcrypt")]
        argon2: bool,
        /// Hash with bcrypt, for a file that other tools read too
        #[arg(long)]
        bcrypt: bool,
    },
    /// Take a user out; tunnels that are open stay open
    Remove {
        /// Who
        name: String,
        #[command(flatten)]
        file: UsersFile,
    },
    /// Print the users' names, one a line
    List {
        #[command(flatten)]
        file: UsersFile,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct UsersFile {
    /// The users file (htpasswd); made by the first `add`, with mode 0600
    #[arg(long = "users", env = "FLOWGATE_USERS", value_name = "FILE")]
    path: PathBuf,
}

pub(super) fn name(text: &str) -> Result<String, String> {
    auth::check_name(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn run(command: User) -> Result<(), Failure> {
    match command {
        User::Add { name, file, password_stdin, argon2: _, bcrypt } => {
            let password = if password_stdin { from_stdin()? } else { ask(&name)? };
            let scheme = if bcrypt { Scheme::Bcrypt } else { Scheme::Argon2 };
            match auth::set(&file.path, &name, &auth::hash_password(&password, scheme)?)? {
                Change::Added => print(format_args!("{name} added to {}", file.path.display())),
                Change::Replaced => print(format_args!("{name} has another password now in {}", file.path.display())),
            }
            tell_doubts(&file.path);
        }
        User::Remove { name, file } => {
            auth::remove(&file.path, &name)?;
            print(format_args!("{name} taken out of {}", file.path.display()));
            tell_doubts(&file.path);
        }
        User::List { file } => {
            for name in auth::names(&file.path)? {
                print(format_args!("{name}"));
            }
        }
    }
    Ok(())
}

/// What a proxy, and others on this machine, would make of it.
fn tell_doubts(file: &Path) {
    if let Err(error) = Users::open(file) {
        print(format_args!("the proxy refuses the whole file until it is mended: {error:#}"));
    }
    if let Some(mode) = auth::others_read(file) {
        print(format_args!("every user of this machine can read it (mode {mode:03o}); chmod 640 and the proxy's group are enough"));
    }
}

fn from_stdin() -> anyhow::Result<Password> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
    let text = line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    ensure!(!text.is_empty(), "the password on standard input is empty");
    Ok(Password::new(text.to_owned()))
}

fn ask(name: &str) -> anyhow::Result<Password> {
    let read = |prompt: String| {
        rpassword::prompt_password(prompt).context("asking for the password: there is no terminal; give it by --password-stdin")
    };
    let first = read(format!("password for {name}: "))?;
    ensure!(!first.is_empty(), "the password is empty");
    ensure!(read("once more: ".to_owned())? == first, "the two passwords differ");
    Ok(Password::new(first))
}
