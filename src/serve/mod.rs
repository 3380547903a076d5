//! What others may watch: metrics and jobs. (The console's pages come with a later issue.)

pub mod metrics;
pub mod records;
pub mod serve;
