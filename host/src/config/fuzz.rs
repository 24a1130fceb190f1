//! Configuration files under random edits: an error or a configuration, and the same one when it is printed and read again.

use std::path::PathBuf;

use super::{Config, Flags, Surroundings, raw::File};
use crate::fuzzing::fuzz;

fn read(text: &str) -> anyhow::Result<Config> {
    let here = Surroundings { folder: "/srv".into(), state: Some("/state".into()) };
    Config::resolve(Flags::default(), Some((PathBuf::from("flowgate.toml"), File::parse(text)?)), &here)?.checked()
}

#[test]
fn configuration() {
    let documented = include_bytes!("../../../docs/flowgate.toml");
    let small = b"listen = '127.0.0.1:1'\ncapture = '1MiB'\ngrace = '1s'\nintercept = ['*.a.test']\nresolve = ['a.test:443=127.0.0.1:1']\n\
                  [destinations]\nallow = ['10.0.0.0/8']\ndeny = ['private']\n[origins.'*.b.test']\naccept-any-certificate = true\n\
                  [plugins.x]\nmemory = '64MiB'\norder = 3\n[plugins.x.config]\na = [1, { b = 2.5 }]\n[redaction]\nfields = ['x']\n";
    let words: &[&[u8]] = &[
        b"\n",
        b" = ",
        b"[",
        b"]",
        b"[plugins.x]\n",
        b"[limits]\n",
        b"'",
        b"\"",
        b"true",
        b"-1",
        b"99999999999999999999",
        b"0",
        b"1ms",
        b"1GiB",
        b"0s",
        b"nan",
        b"1979-05-27",
        b"connections = ",
        b"{",
        b"}",
        b"*",
        b"::1",
        b"[::1]:80",
        b"#",
        b"\\u0000",
        b"order = ",
        b"config.a = 1\n",
    ];
    fuzz("configuration", &[documented, small], words, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return "no text".to_owned() };
        let config = match read(text) {
            Ok(config) => config,
            Err(error) => return error.root_cause().to_string().chars().take(30).collect(),
        };
        let printed = config.to_string();
        let again = read(&printed).unwrap_or_else(|error| panic!("what is printed is refused: {error:#}\n{printed}"));
        assert_eq!(again.to_string(), printed);
        format!("{} plugins", config.plugins.len())
    });
}
