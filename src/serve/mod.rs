//! What others may watch: metrics and jobs. (The console's pages come with a later issue.)

pub mod http;
pub mod metrics;
pub mod records;
