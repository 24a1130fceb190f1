//! `records`: whole files below the plugin's own folder.
//!
//! Place: names are checked here, by the host; `record` writes.

use crate::{
    plugin::{
        bindings::flowgate::plugin::records::{Error, Host, WriteMode},
        capability::context::Effect,
        guest::Guest,
    },
    record::{self, KeepError, RecordName},
};

impl Host for Guest {
    async fn keep(&mut self, path: String, data: Vec<u8>, mode: WriteMode) -> wasmtime::Result<Result<(), Error>> {
        self.admitted()?;
        self.hand_over(data.len())?;
        let name = match RecordName::parse(&path) {
            Ok(name) => name,
            Err(error) => return Ok(Err(Error::Denied(error.to_string()))),
        };
        let mode = match mode {
            WriteMode::CreateNew => record::WriteMode::CreateNew,
            WriteMode::Replace => record::WriteMode::Replace,
            WriteMode::Append => record::WriteMode::Append,
        };
        if let Some(scene) = &self.about.scene {
            scene.keep(name.as_str(), data, mode);
            self.act(Effect::Kept);
            return Ok(Ok(()));
        }
        let Some(folder) = self.about.records.clone() else {
            return Ok(Err(Error::Denied("no folder is granted to this plugin".into())));
        };
        Ok(match folder.keep(name, data, mode).await {
            Ok(()) => {
                self.act(Effect::Kept);
                Ok(())
            }
            Err(KeepError::Overloaded) => Err(Error::Overloaded),
            Err(error) => Err(Error::Other(error.to_string())),
        })
    }
}
