//! `flowgate check`: would it start, and with what?

use super::{Failure, describe, print, runtime};
use crate::{
    app,
    auth::{Mode, Users},
    config::Config,
    tls::{Root, Trust, rotation},
};

pub(super) fn run(config: &Config) -> Result<(), Failure> {
    match &config.file {
        Some(file) => print(format_args!("# from {}, flags and environment", file.display())),
        None => print(format_args!("# from flags, environment and defaults; there is no configuration file")),
    }
    print(format_args!("{config}"));

    let root = Root::open_or_create(&config.state_dir)?;
    print(format_args!("# root: {}, valid until {}", root.subject(), root.not_after().date()));
    if let Some(next) = rotation::next(&config.state_dir)? {
        print(format_args!("# next root: {}, valid until {}", next.subject(), next.not_after().date()));
    }
    app::check_files(config)?;
    let trust = Trust::load(&config.upstream_ca, &[])?;
    print(format_args!(
        "# origins: verified against {} roots of the system and {} of upstream-ca",
        trust.system_roots(),
        trust.extra_roots()
    ));
    match (&config.users, config.auth) {
        (Some(path), Mode::Require) => print(format_args!("# users: {}", Users::open(path)?.len())),
        (Some(_), mode) => print(format_args!("# users: not looked at, for auth is {mode}")),
        (None, _) => print(format_args!("# users: none needed, for auth is {}", config.auth)),
    }
    let plugins = runtime()?.block_on(app::check(config.clone()))?;
    for plugin in plugins {
        let uses = if plugin.capabilities.is_empty() { "nothing".to_owned() } else { plugin.capabilities.join(", ") };
        print(format_args!("# plugin: {}; uses {uses}", describe(&plugin)));
    }
    print(format_args!("# good"));
    Ok(())
}
