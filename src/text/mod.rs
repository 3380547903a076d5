//! How things are written for people: sizes, rates, times, tables.

pub mod render;
pub mod units;
