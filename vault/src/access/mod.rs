//! Who may use a vault, and what its operator sees of them and decides: the descriptor, credentials, registrations,
//! orders and job records.

pub mod credentials;
pub mod descriptor;
pub(crate) mod error;
pub(crate) mod features;
pub mod job_records;
pub mod orders;
pub mod policy_records;
pub mod registration;

pub use error::CredentialsError;
