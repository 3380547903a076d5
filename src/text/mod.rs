//! How things are written for people, and how what people wrote is read: sizes, rates, times, tables.

pub(crate) mod render;
pub(crate) mod units;
