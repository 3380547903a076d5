//! Who may use a vault, and what its operator sees of them: the descriptor, credentials, registrations and job records.

pub mod credentials;
pub mod descriptor;
mod error;
pub(crate) mod features;
pub mod job_records;
pub mod policy_records;
pub mod registration;

pub use error::CredentialsError;
