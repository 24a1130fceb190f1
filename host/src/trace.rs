//! Diagnostics: what operators read.
