//! Room for what flows hold on their way.
//!
//! Place: in keepers that bound it for all their flows together, and let none push out another.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Octets that a keeper's flows hold together, and may hold.
#[derive(Debug)]
pub struct Room {
    most: usize,
    held: AtomicUsize,
}

impl Room {
    /// For so many octets.
    pub fn new(most: usize) -> Self {
        Self { most, held: AtomicUsize::new(0) }
    }

    /// Whether so many more may be held; if so, they are.
    pub fn hold(&self, octets: usize) -> bool {
        let held = self.held.fetch_add(octets, Ordering::Relaxed);
        if held + octets <= self.most {
            return true;
        }
        self.release(octets);
        false
    }

    /// So many less are held.
    pub fn release(&self, octets: usize) {
        self.held.fetch_sub(octets, Ordering::Relaxed);
    }

    /// How many are held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}
