//! The values of a store's settings, before a client of a store takes them. Such a client panics at some values and
//! sends others as they are. So blanks at the ends are cut off (`echo KEY >file` leaves a line end), a value that is
//! empty then is not set, and a value that cannot be right is refused by the name of its variable. A value is never
//! shown: it may be a secret.

use super::StoreError;

/// The value to use. `None` if there is none.
pub(super) fn clean(name: &str, value: &str) -> Result<Option<String>, StoreError> {
    let bad = |reason| StoreError::BadVariable {
        name: name.to_ascii_uppercase(),
        reason,
    };
    let value = value.trim();
    let lower = name.to_ascii_lowercase();
    if value.is_empty() {
        return Ok(None);
    }
    if value.chars().any(char::is_control) {
        return Err(bad("it has a line end, or another control character, in the middle"));
    }
    let is_path = lower.ends_with("_file") || lower.ends_with("_bundle");
    if !is_path && !value.is_ascii() {
        return Err(bad("it has characters that are not ASCII"));
    }
    let is_url = lower.contains("endpoint") && !lower.starts_with("azure_use");
    if is_url && let Some(reason) = wrong_with_url(value) {
        return Err(bad(reason));
    }
    Ok(Some(value.to_owned()))
}

fn wrong_with_url(value: &str) -> Option<&'static str> {
    if !value.starts_with("http://") && !value.starts_with("https://") {
        return Some("it is not an address that begins with https:// or http://");
    }
    let Ok(url) = url::Url::parse(value) else {
        return Some("it is not an address: check the host and the port");
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Some("it has a user name or a password in it; keys belong into the variables for keys");
    }
    None
}

/// The settings of the environment whose names begin with `prefix`, in lower case.
pub(super) fn of_environment(prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
    let mut found = Vec::new();
    for (name, value) in std::env::vars_os() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
            continue;
        };
        if !name.starts_with(prefix) || !super::StoreOptions::knows(&name.to_ascii_lowercase()) {
            continue;
        }
        if let Some(value) = clean(name, value)? {
            found.push((name.to_ascii_lowercase(), value));
        }
    }
    Ok(found)
}

/// A URL for messages: without what may be keys in it.
pub(super) fn without_keys(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) if scheme != "file" => format!("{scheme}://…@{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::kind::Kind;

    #[test]
    fn blanks_at_the_ends_are_cut_off() {
        let value = |text| clean("AWS_ENDPOINT_URL", text).unwrap();
        assert_eq!(
            value(" http://127.0.0.1:9000\n").as_deref(),
            Some("http://127.0.0.1:9000")
        );
        assert_eq!(clean("AWS_ACCESS_KEY_ID", "key\n").unwrap().as_deref(), Some("key"));
        assert_eq!(clean("AWS_REGION", " \n").unwrap(), None);
    }

    #[test]
    fn what_cannot_be_right_is_refused_by_name_and_not_shown() {
        for (name, value) in [
            ("AWS_ENDPOINT_URL", "store.example:9000"),
            ("AWS_ENDPOINT_URL", "http://store.example:port"),
            ("AWS_ENDPOINT_URL", "http://user:secret@store.example"),
            ("AZURE_STORAGE_ENDPOINT", "ftp://secret"),
            ("AWS_SESSION_TOKEN", "sec\nret"),
            ("AWS_SECRET_ACCESS_KEY", "sécret"),
        ] {
            let error = clean(name, value).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            let said = error.to_string();
            assert!(
                said.starts_with(name) && !said.contains(value) && !said.contains("secret@"),
                "{said}"
            );
        }
        assert!(clean("AWS_CA_BUNDLE", "/etc/süd.pem").is_ok());
        assert!(clean("AZURE_USE_FABRIC_ENDPOINT", "true").is_ok());
    }

    #[test]
    fn keys_in_a_url_are_not_shown() {
        assert_eq!(without_keys("s3://KEY:SEC/RET@bucket/x"), "s3://…@bucket/x");
        assert_eq!(without_keys("s3://bucket/x"), "s3://bucket/x");
        assert_eq!(without_keys("file:///home/a@b"), "file:///home/a@b");
        assert_eq!(without_keys("/home/a@b"), "/home/a@b");
    }
}
