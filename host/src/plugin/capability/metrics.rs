//! `metrics`: numbers of a plugin, for whoever watches the proxy.
//!
//! Place: reported to `plugin::metrics`, which bounds them. Nothing here fails: a metric is not worth a flow.

use crate::plugin::{
    bindings::flowgate::plugin::metrics::{Host, Labels},
    capability::context::Effect,
    guest::Guest,
};

impl Host for Guest {
    fn count(&mut self, counter: String, labels: Labels, by: u32) -> wasmtime::Result<()> {
        self.admitted()?;
        self.act(Effect::Acted);
        if let Some(meters) = &self.about.meters {
            meters.count(counter, labels, by);
        }
        Ok(())
    }

    fn gauge(&mut self, name: String, labels: Labels, value: f64) -> wasmtime::Result<()> {
        self.admitted()?;
        self.act(Effect::Acted);
        if let Some(meters) = &self.about.meters {
            meters.gauge(name, labels, value);
        }
        Ok(())
    }

    fn measure(&mut self, histogram: String, labels: Labels, value: f64) -> wasmtime::Result<()> {
        self.admitted()?;
        self.act(Effect::Acted);
        if let Some(meters) = &self.about.meters {
            meters.measure(histogram, labels, value);
        }
        Ok(())
    }
}
