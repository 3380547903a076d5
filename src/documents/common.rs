//! Parts of several documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockstone_actors::Warning;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A path. It is text, and where it is not UTF-8 its exact bytes are given too.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct PathDocument {
    /// Bytes that are not UTF-8 are replaced by `�`.
    path: String,
    /// The exact bytes in base64, if `path` is not the whole truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
}

impl From<&[u8]> for PathDocument {
    fn from(path: &[u8]) -> PathDocument {
        match std::str::from_utf8(path) {
            Ok(text) => PathDocument {
                path: text.to_owned(),
                path_bytes: None,
            },
            Err(_) => PathDocument {
                path: lossy(path),
                path_bytes: Some(STANDARD.encode(path)),
            },
        }
    }
}

/// Bytes in base64, if they are not text.
pub(super) fn exact(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).is_err().then(|| STANDARD.encode(bytes))
}

/// For each path its bytes in base64, or null if it is text; nothing if all are text.
pub(crate) fn exact_of<'p>(paths: impl Iterator<Item = &'p [u8]>) -> Vec<Option<String>> {
    let all: Vec<Option<String>> = paths.map(exact).collect();
    if all.iter().all(Option::is_none) {
        Vec::new()
    } else {
        all
    }
}

/// Bytes as text. Bytes that are not UTF-8 are replaced by `�`.
pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Something that could not be kept or given back as it was.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WarningDocument {
    #[serde(flatten)]
    path: PathDocument,
    message: String,
}

impl From<&Warning> for WarningDocument {
    fn from(warning: &Warning) -> WarningDocument {
        WarningDocument {
            path: warning.path.as_slice().into(),
            message: warning.message.clone(),
        }
    }
}

/// Why something failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Error")]
#[serde(default)]
pub(crate) struct ErrorDocument {
    /// A fixed word for scripts.
    pub(crate) code: String,
    pub(crate) message: String,
    /// What to do about it; may be empty.
    pub(crate) hint: String,
}

/// The document of a command that failed before it had anything else to say.
#[derive(Debug, Serialize)]
pub(crate) struct FailureDocument {
    pub(crate) error: ErrorDocument,
}

impl From<&Failure> for FailureDocument {
    fn from(failure: &Failure) -> FailureDocument {
        FailureDocument { error: failure.into() }
    }
}

impl From<&Failure> for ErrorDocument {
    fn from(failure: &Failure) -> ErrorDocument {
        ErrorDocument {
            code: failure.code.to_owned(),
            message: failure.message.clone(),
            hint: failure.hint.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_that_is_not_text_keeps_its_bytes() {
        let document = serde_json::json!(PathDocument::from(&b"/a\xff"[..]));
        assert_eq!(document, json!({ "path": "/a\u{fffd}", "path_bytes": "L2H/" }));
        assert_eq!(json!(PathDocument::from(&b"/a"[..])), json!({ "path": "/a" }));
    }
}
