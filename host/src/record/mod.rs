//! Records: whole files that plugins keep, written off the way of every flow.
//!
//! Place: `app` starts the [`Writer`] and closes it last; `plugin` keeps records through a [`Folder`]. Knows nothing of flows.

mod checked;
mod folders;
#[cfg(test)]
mod fuzz;
mod place;
mod prune;
mod writer;

pub use checked::{BadName, RecordName};
pub use place::WriteMode;
pub use prune::{Pruned, Retention, prune};
pub use writer::{Folder, KeepError, Limits, Losses, Standing, Writer};
