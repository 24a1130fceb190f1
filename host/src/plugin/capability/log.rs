//! `log`: lines of a plugin among the diagnostics.
//!
//! Place: also where `output` puts what a guest writes to standard output and error. A plugin's lines are bounded in length and in number
//! per second, and hold no control characters, so that none can flood, forge or repaint what operators read.

use std::time::Instant;

use tracing::Level;

use crate::{
    pace::{Lines, Rate},
    plugin::{
        bindings::flowgate::plugin::log,
        guest::{About, Guest},
    },
};

/// How many seconds' lines may come at once: a traceback is not spread over its time.
const BURST: u32 = 2;
/// Most octets of one line; the rest is cut off.
const MAX_LINE: usize = 4096;

impl log::Host for Guest {
    fn enabled(&mut self, level: log::Level) -> wasmtime::Result<bool> {
        self.admitted()?;
        if self.about.scene.is_some() {
            return Ok(true);
        }
        Ok(is_seen(level))
    }

    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.admitted()?;
        self.about.say(level, self.flow_id(), &message);
        Ok(())
    }
}

impl About {
    /// One line of the plugin about `flow` (0: none).
    pub(in crate::plugin) fn say(&self, level: log::Level, flow: u64, text: &str) {
        if let Some(scene) = &self.scene {
            let level = match level {
                log::Level::Trace => "trace",
                log::Level::Debug => "debug",
                log::Level::Info => "info",
                log::Level::Warn => "warn",
                log::Level::Error => "error",
            };
            return scene.line(format!("{level}: {}", sanitised(text)));
        }
        // What nobody sees takes no turn of what somebody would.
        if !is_seen(level) {
            return;
        }
        let Some(suppressed) = self.lines.admit(Instant::now()) else { return };
        self.own_up(suppressed);
        let (plugin, version, hash) = self.label();
        let text = sanitised(text);
        let flow = (flow != 0).then_some(flow);
        match level {
            log::Level::Trace => tracing::trace!(plugin, version, hash, flow, "{text}"),
            log::Level::Debug => tracing::debug!(plugin, version, hash, flow, "{text}"),
            log::Level::Info => tracing::info!(plugin, version, hash, flow, "{text}"),
            log::Level::Warn => tracing::warn!(plugin, version, hash, flow, "{text}"),
            log::Level::Error => tracing::error!(plugin, version, hash, flow, "{text}"),
        }
    }

    /// A call has ended: says how many lines were left out, if nobody has said so since.
    pub(in crate::plugin) fn settle_lines(&self) {
        self.own_up(self.lines.settle(Instant::now));
    }

    fn own_up(&self, suppressed: u64) {
        if suppressed > 0 {
            let (plugin, version, hash) = self.label();
            tracing::warn!(plugin, version, hash, suppressed, "lines of the plugin were left out: it writes too many");
        }
    }

    fn label(&self) -> (&str, &str, &str) {
        (&self.name, self.version.get().map_or("", String::as_str), &self.hash)
    }
}

/// The last who could say so.
impl Drop for About {
    fn drop(&mut self) {
        self.own_up(self.lines.left_out());
    }
}

/// Whether lines of that level are written anywhere.
fn is_seen(level: log::Level) -> bool {
    match level {
        log::Level::Trace => tracing::enabled!(Level::TRACE),
        log::Level::Debug => tracing::enabled!(Level::DEBUG),
        log::Level::Info => tracing::enabled!(Level::INFO),
        log::Level::Warn => tracing::enabled!(Level::WARN),
        log::Level::Error => tracing::enabled!(Level::ERROR),
    }
}

/// Lines of a plugin: so many a second.
pub(in crate::plugin) fn lines(per_second: u32) -> Lines {
    Lines::new(Rate { per_second, at_once: per_second.saturating_mul(BURST) })
}

/// One line, of bounded length, that no terminal takes for anything else.
pub(in crate::plugin) fn sanitised(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MAX_LINE));
    for character in text.trim_end().chars() {
        if line.len() >= MAX_LINE {
            line.push('…');
            break;
        }
        match character {
            '\t' => line.push(' '),
            _ if character.is_control() => line.extend(character.escape_default()),
            _ => line.push(character),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_cannot_forge_others() {
        let table =
            [("plain ü\n", "plain ü"), ("a\tb\r\nINFO forged", "a b\\r\\nINFO forged"), ("\u{1b}[31mred\u{9b}", "\\u{1b}[31mred\\u{9b}")];
        for (text, expected) in table {
            assert_eq!(sanitised(text), expected);
        }
        assert!(sanitised(&"x".repeat(10 * MAX_LINE)).len() < MAX_LINE + 10);
    }
}
