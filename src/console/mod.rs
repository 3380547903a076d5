//! What others may watch: metrics. (The console's pages come with a later issue.)

pub mod metrics;
