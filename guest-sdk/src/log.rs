//! Log lines. The host adds plugin, version and flow; keep credentials and content out of them.

use std::fmt;

pub use crate::bindings::imports::log::Level;

/// Whether anyone will see lines of that level: saves formatting them.
pub fn enabled(level: Level) -> bool {
    #[cfg(target_family = "wasm")]
    return crate::bindings::imports::log::enabled(level);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::log_enabled(level)
}

/// One line.
pub fn write(level: Level, message: &str) {
    #[cfg(target_family = "wasm")]
    crate::bindings::imports::log::write(level, message);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::log_line(level, message);
}

fn format(level: Level, message: fmt::Arguments<'_>) {
    if enabled(level) {
        match message.as_str() {
            Some(text) => write(level, text),
            None => write(level, &message.to_string()),
        }
    }
}

/// For whoever hunts a fault; `format_args!` makes the message, and nothing is formatted that nobody sees.
pub fn debug(message: fmt::Arguments<'_>) {
    format(Level::Debug, message);
}

/// For operators who want to know.
pub fn info(message: fmt::Arguments<'_>) {
    format(Level::Info, message);
}

/// For operators who should look.
pub fn warn(message: fmt::Arguments<'_>) {
    format(Level::Warn, message);
}

/// For operators who must act.
pub fn error(message: fmt::Arguments<'_>) {
    format(Level::Error, message);
}
