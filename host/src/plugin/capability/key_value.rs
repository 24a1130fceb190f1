//! `key-value`: what a plugin keeps over calls, instances, swaps and restarts.
//!
//! Place: one namespace of `store` per plugin name. Nothing here waits for the disk; see there for what a killed process loses.

use std::time::Duration;

use crate::{
    plugin::{
        bindings::flowgate::plugin::key_value::{Error, Host},
        capability::context::Effect,
        guest::Guest,
    },
    store::{Namespace, StoreError},
};

/// Names of more keys than these are collected off the runtime: that takes milliseconds.
const LIST_HERE: usize = 4096;

impl Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, Error>> {
        self.admitted()?;
        Ok(self.stored().map(|stored| stored.get(&key).map(Vec::from)))
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl_s: Option<u32>) -> wasmtime::Result<Result<(), Error>> {
        self.admitted()?;
        self.act(Effect::Acted);
        self.hand_over(value.len())?;
        let ttl = ttl_s.map(|seconds| Duration::from_secs(seconds.into()));
        Ok(self.stored().and_then(|stored| stored.set(&key, value.into(), ttl).map_err(Error::from)))
    }

    fn remove(&mut self, key: String) -> wasmtime::Result<Result<(), Error>> {
        self.admitted()?;
        self.act(Effect::Acted);
        Ok(self.stored().map(|stored| stored.remove(&key)))
    }

    fn compare_and_set(&mut self, key: String, expected: Option<Vec<u8>>, value: Vec<u8>) -> wasmtime::Result<Result<bool, Error>> {
        self.admitted()?;
        self.act(Effect::Acted);
        self.hand_over(value.len())?;
        Ok(self.stored().and_then(|stored| stored.compare_and_set(&key, expected.as_deref(), value.into()).map_err(Error::from)))
    }

    fn increment(&mut self, key: String, by: u32) -> wasmtime::Result<Result<u64, Error>> {
        self.admitted()?;
        self.act(Effect::Acted);
        Ok(self.stored().and_then(|stored| stored.increment(&key, by).map_err(Error::from)))
    }

    async fn keys(&mut self, prefix: String, limit: u32) -> wasmtime::Result<Result<Vec<String>, Error>> {
        self.admitted()?;
        let stored = match self.stored() {
            Ok(stored) => stored.clone(),
            Err(error) => return Ok(Err(error)),
        };
        let limit = limit as usize;
        if stored.len() <= LIST_HERE {
            return Ok(Ok(stored.keys(&prefix, limit)));
        }
        let listed = self.about.tasks.block(move || stored.keys(&prefix, limit)).await;
        listed.map(Ok).map_err(wasmtime::Error::new)
    }
}

impl Guest {
    fn stored(&self) -> Result<&Namespace, Error> {
        self.about.key_value.as_ref().ok_or_else(|| Error::Other("key-value is not granted to this plugin".into()))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Key(_) | StoreError::Value(_) | StoreError::Full(_) => Self::Quota,
            StoreError::NoCounter | StoreError::Overflow => Self::Other(error.to_string()),
        }
    }
}
