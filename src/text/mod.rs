//! How things are written for people, and how what people wrote is read: sizes, rates, times, tables,
//! recovery points.

pub(crate) mod point;
pub(crate) mod render;
pub(crate) mod units;
