//! What this server keeps of itself, and how it comes by its backups: the state folder, the registration, the opened
//! vault, the records of its jobs. The commands in `cli` call this; nothing here prints results.

pub mod home;
pub mod job_metrics;
pub mod jobs;
pub mod lock;
pub mod passphrase;
pub mod registration;
pub mod session;
pub mod signals;
pub mod slots;
pub mod sources;
pub mod store_settings;
pub mod throttle;
