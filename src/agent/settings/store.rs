//! `store.json` in the state folder: what an agent needs to know of its object store if its environment does not say
//! it. One JSON object of strings: `patience` (`"15m"`), and the store's variables under their names in lower case
//! (`aws_endpoint_url`, `azure_storage_account_key`, …). The environment and the command line come first.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstone_vault::store::StoreOptions;

use crate::agent::state::folder::StateFolder;
use crate::failure::Failure;
use crate::text::units;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoreSettings {
    /// How long to wait for a store that does not answer.
    pub(crate) patience: Option<Duration>,
    /// The store's variables, by their names in lower case.
    pub(crate) variables: BTreeMap<String, String>,
}

impl StoreSettings {
    /// Reads the file. If there is no file, or no state folder, nothing is set. Fails with `usage` if the file cannot
    /// be read or has a setting that is not understood.
    pub(crate) fn load() -> Result<StoreSettings, Failure> {
        let Ok(state) = StateFolder::locate() else {
            return Ok(StoreSettings::default());
        };
        let path = state.store_settings();
        let hint = "see docs/operations.md for the settings of this file";
        let bad = |why: String| Failure::usage(format!("{}: {why}", path.display()), hint);
        match std::fs::read_to_string(&path) {
            Ok(text) => StoreSettings::parse(&text).map_err(bad),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(StoreSettings::default()),
            Err(error) => Err(bad(error.to_string())),
        }
    }

    fn parse(text: &str) -> Result<StoreSettings, String> {
        let mut variables: BTreeMap<String, String> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let patience = variables.remove("patience");
        let patience = patience.map(|text| units::duration(&text)).transpose()?;
        match variables.keys().find(|name| !StoreOptions::knows(name)) {
            Some(name) => Err(format!("there is no setting {name:?}")),
            None => Ok(StoreSettings { patience, variables }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_variables_and_patience() {
        let read = StoreSettings::parse(r#"{"patience": "2m", "aws_endpoint_url": "http://x"}"#).unwrap();
        assert_eq!(read.patience, Some(Duration::from_secs(120)));
        assert_eq!(read.variables["aws_endpoint_url"], "http://x");
        for bad in [
            "",
            "[]",
            r#"{"aws_endpiont": "x"}"#,
            r#"{"patience": "soon"}"#,
            r#"{"patience": 5}"#,
        ] {
            assert!(StoreSettings::parse(bad).is_err(), "{bad}");
        }
    }
}
