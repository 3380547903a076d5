//! What describes the system.
use crate::failure::Failure;
use lockstone_actors::CancelToken;
use std::path::{Path, PathBuf};

pub(crate) const PATH: &str = "/system state";
pub(crate) const FOLDERS: &[&str] = &["/etc", "/boot"];

pub(crate) fn folder(state: &Path) -> PathBuf {
    state.join("system state")
}

pub(crate) fn write(_state: &Path, _cancel: &CancelToken) -> Result<Vec<String>, Failure> {
    Ok(Vec::new())
}
