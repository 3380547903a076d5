//! The commands, a file each: their options, and what they do with them. Each ends in words for people or one document
//! for scripts, and an exit code.

pub mod agent;
pub mod backup;
pub mod bench;
pub mod cache;
pub mod check;
pub mod demo;
pub mod extras;
pub mod jobs;
pub mod look;
pub mod passphrase;
pub mod points;
pub mod register;
pub mod report;
pub mod restore;
pub mod status;
pub mod throttle;
pub mod vault;
