//! Measures this machine and the throttle. `lockstone bench …` runs these measurements and shows what they report.

pub(crate) mod primitives;
pub mod sample;
pub(crate) mod throttle;

use std::path::Path;

use crate::failure::Failure;

/// Receives what a measurement has to say while it runs.
pub(crate) trait Listener {
    /// Which step begins.
    fn note(&self, text: &str);

    /// Something the user should look at.
    fn warn(&self, text: &str);
}

/// Checks before the first run whether a file for the results can be written.
pub(crate) fn check_output_file(file: &Path) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    if folder.is_some_and(|folder| !folder.is_dir()) || file.is_dir() {
        return Err(Failure::failed(
            "failed",
            format!(
                "cannot write {}: its folder does not exist, or it is a folder itself",
                file.display()
            ),
            "name a file in a folder that exists",
        ));
    }
    Ok(())
}

/// A random name below which a run puts its objects into a vault's store, so that it meets no other objects.
fn random_prefix() -> anyhow::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    Ok(format!("bench/{}", hex::encode(bytes)))
}
