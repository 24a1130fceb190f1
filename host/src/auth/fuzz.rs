//! What clients send as credentials and operators as users, under random edits.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{Credentials, check_name, htpasswd};
use crate::fuzzing::fuzz;

#[test]
fn basic_credentials() {
    let seeds: &[&[u8]] = &[b"Basic YW5hOnMzY3JldA==", b"basic\t YW5h", b"Basic w7w6OmE6Yg", b"Bearer abc"];
    let words: &[&[u8]] = &[b"Basic ", b"BASIC", b"=", b"==", b"Og==", b"\t", b" ", b"AAAA", b"Cg==", b"/", b"_", b"\xff", b":"];
    fuzz("basic_credentials", seeds, words, |value| {
        let Some(Credentials { name, password }) = Credentials::parse(value) else { return "none".to_owned() };
        assert!(!name.is_empty() && name.len() <= 255 && !name.contains(|sign: char| sign.is_control() || sign == ':'), "{name:?}");
        let written = [name.as_bytes(), b":", password.octets()].concat();
        let again = Credentials::parse(format!("Basic {}", BASE64_STANDARD.encode(written)).as_bytes()).expect("a name is a name");
        assert_eq!((again.name, again.password.octets()), (name.clone(), password.octets()));
        format!("{} {}", name.is_ascii(), password.octets().len().min(5))
    });
}

#[test]
fn users_files() {
    let seeds: &[&[u8]] = &[
        b"ana\n# users\nana:$2y$04$abcdefghijklmnopqrstuv\n\nbob:{SHA}x\n",
        b"eve\nana:$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA\r\neve:x",
    ];
    let words: &[&[u8]] = &[b":", b"\n", b"\r\n", b"#", b"ana", b"$2y$", b" ", b"\xef\xbb\xbf", b"ana:x\n"];
    fuzz("users_files", seeds, words, |input| {
        let Ok(input) = std::str::from_utf8(input) else { return "no text".to_owned() };
        // The first line is a name, the rest a file.
        let (name, text) = input.split_once('\n').unwrap_or((input, ""));
        let table = htpasswd::Table::parse(text);
        let Ok(before) = htpasswd::names(text) else { return format!("no users {}", table.is_ok()) };
        if check_name(name).is_err() {
            return "no name".to_owned();
        }
        let (with, replaced) = htpasswd::with(text, name, "hash");
        let after = htpasswd::names(&with).expect("still users");
        assert_eq!((replaced, after.iter().filter(|one| *one == name).count()), (before.iter().any(|one| one == name), 1), "{with:?}");
        let without = htpasswd::without(&with, name).expect("it is there");
        let others: Vec<&String> = before.iter().filter(|one| *one != name).collect();
        assert_eq!(htpasswd::names(&without).expect("still users").iter().collect::<Vec<_>>(), others, "{without:?}");
        format!("{} {replaced} {}", before.len().min(4), table.is_ok())
    });
}
