//! Languages that plugins are written in, and what a new plugin does to begin with.

use std::path::Path;

use clap::ValueEnum;
use serde::Deserialize;

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// cargo, for wasm32-wasip2
    Rust,
    /// QuickJS inside the component
    Javascript,
    /// The same, checked by its compiler first
    Typescript,
    /// CPython inside the component
    Python,
    /// Go's own compiler
    Go,
    /// clang with wasi-libc, or zig
    C,
}

impl Language {
    /// All of them, in the order they are documented in.
    pub const ALL: [Self; 6] = [Self::Rust, Self::Javascript, Self::Typescript, Self::Python, Self::Go, Self::C];

    /// As on the command line and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Javascript => "javascript",
            Self::Typescript => "typescript",
            Self::Python => "python",
            Self::Go => "go",
            Self::C => "c",
        }
    }

    /// What the files in a folder speak for, if it has no manifest.
    pub(super) fn of_folder(folder: &Path) -> Option<Self> {
        let has = |name: &str| folder.join(name).exists();
        if has("Cargo.toml") {
            Some(Self::Rust)
        } else if has("go.mod") {
            Some(Self::Go)
        } else if has("tsconfig.json") {
            Some(Self::Typescript)
        } else if has("package.json") {
            Some(Self::Javascript)
        } else if has("src/app.py") {
            Some(Self::Python)
        } else {
            has("src/plugin.c").then_some(Self::C)
        }
    }
}

/// What a new plugin does to begin with.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Taste {
    /// Keeps chat answers of one model, a field blanked
    Observer,
    /// Labels requests and refuses some
    Filter,
    /// Replaces a word in answers while they pass
    Stream,
    /// Replaces a word in WebSocket messages
    Message,
}

impl Taste {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Observer, Self::Filter, Self::Stream, Self::Message];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Filter => "filter",
            Self::Stream => "stream",
            Self::Message => "message",
        }
    }
}
