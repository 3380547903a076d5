//! How things are written for people: sizes, rates, times, tables, recovery points.

pub mod point;
pub mod render;
pub mod units;
