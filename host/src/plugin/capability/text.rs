//! `text`: helpers for languages that are slow at it.

use crate::plugin::{bindings::flowgate::plugin::text, guest::Guest};

impl text::Host for Guest {
    fn decode_utf8(&mut self, data: Vec<u8>) -> wasmtime::Result<String> {
        self.admitted()?;
        Ok(String::from_utf8(data).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }
}
