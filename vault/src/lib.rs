//! Placeholder.

pub mod content;
pub mod frame;
pub mod keys;
pub mod pack;
mod seal;
pub mod segment;
pub mod slots;
pub mod tree;
mod wire;
#[cfg(test)]
mod vectors;
