//! Origins, clients and guests for tests.

pub mod guests;
