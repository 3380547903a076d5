//! From a vault URL to a store: which place the URL means and, for an object store, its endpoint and keys.
//!
//! ```text
//! /srv/vault, file:///srv/vault   a folder
//! s3://bucket/prefix              a bucket of S3, or of another store with its API (AWS_ENDPOINT_URL)
//! az://container/prefix           a container of Azure Blob Storage
//! ```
//!
//! Settings have the names of the environment variables that `object_store` knows (`AWS_…`, `AZURE_…`). Settings that
//! the environment does not have come from `StoreOptions::settings`, under the same names in lower case. With an
//! endpoint the bucket stands in the path, and `http://` is allowed, because the user wrote it there.
//!
//! S3: uploads carry a SHA-256 that the store compares with what it received (the signature needs it anyway); buckets
//! with object lock ask for one. `AWS_UNSIGNED_PAYLOAD` and `AWS_CHECKSUM_ALGORITHM` change that. Deletes go one by
//! one, so that each has an answer of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::path::Path as ObjectPath;
use object_store::prefix::PrefixStore;
use object_store::{ClientConfigKey, ObjectStore, RetryConfig};

use super::StoreError;
use super::clock::StoreClock;
use super::connect::Connector;
use super::fault::Refusal;
use super::pace::{LinePace, Unpaced};
use super::settings::{clean, of_environment, without_keys};

/// What opening a store needs besides its URL.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// When bytes may go.
    pub pace: Arc<dyn LinePace>,
    /// Settings that the environment does not have: names of environment variables in lower case (`aws_endpoint_url`).
    pub settings: BTreeMap<String, String>,
    /// Whether settings and proxies of the environment are used; they take precedence over `settings`. `false` if
    /// `settings` are complete.
    pub environment: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            pace: Arc::new(Unpaced),
            settings: BTreeMap::new(),
            environment: true,
        }
    }
}

impl StoreOptions {
    /// A setting, from the environment or else from `settings`.
    fn get(&self, name: &str) -> Option<String> {
        let set = || std::env::var(name.to_ascii_uppercase()).ok();
        let set = self.environment.then(set).flatten();
        set.or_else(|| self.settings.get(name).cloned())
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    /// Whether a setting of this name has an effect at any store. `object_store` knows settings of its own HTTP client,
    /// too, which is not used here.
    #[must_use]
    pub fn knows(name: &str) -> bool {
        let s3 = || match AmazonS3ConfigKey::from_str(name) {
            Ok(AmazonS3ConfigKey::Client(key)) => key == ClientConfigKey::AllowHttp,
            key => key.is_ok(),
        };
        let azure = || match AzureConfigKey::from_str(name) {
            Ok(AzureConfigKey::Client(key)) => key == ClientConfigKey::AllowHttp,
            key => key.is_ok(),
        };
        name == CA_BUNDLE || name.starts_with("aws_") && s3() || name.starts_with("azure_") && azure()
    }
}

/// Certificates to trust in addition to the system's. Other S3 programs use the same variable.
const CA_BUNDLE: &str = "aws_ca_bundle";

/// Where a machine of Azure finds the service that gives its role's keys.
const MANAGED_IDENTITY: &str = "IDENTITY_ENDPOINT";

/// Where a vault URL leads.
#[derive(Debug)]
pub(super) enum Place {
    Folder(PathBuf),
    Bucket(Bucket),
}

/// A bucket or container, and the names in it.
#[derive(Debug)]
pub(super) struct Bucket {
    service: Service,
    name: String,
    prefix: ObjectPath,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    S3,
    Azure,
}

impl Service {
    fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Azure => "az",
        }
    }
}

/// What a vault URL means.
pub(super) fn place(url: &str) -> Result<Place, StoreError> {
    let bad = |reason| StoreError::BadUrl {
        url: without_keys(url),
        reason,
    };
    if url.is_empty() {
        return Err(bad("it is empty"));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok(Place::Folder(PathBuf::from(url)));
    };
    let service = match scheme {
        "file" => {
            let parsed = url::Url::parse(url).map_err(|_| bad("it cannot be parsed"))?;
            let path = parsed.to_file_path();
            let path = path.map_err(|()| bad("a file URL is file:/// and an absolute path"))?;
            return Ok(Place::Folder(path));
        }
        "s3" => Service::S3,
        "az" => Service::Azure,
        _ => {
            return Err(StoreError::Unsupported {
                url: without_keys(url),
                scheme: scheme.to_owned(),
            });
        }
    };
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '$');
    if !name.chars().all(sound) && rest.contains('@') {
        return Err(bad(
            "keys do not belong into it: set them as variables, or in `store.json`",
        ));
    }
    if name.len() < 3 || name.len() > 63 || !name.chars().all(sound) {
        return Err(bad(
            "a bucket or container has 3 to 63 letters, digits, dots and dashes",
        ));
    }
    if prefix.contains(['?', '#', '%']) {
        return Err(bad("the prefix stands as it is, without ?, # and %"));
    }
    let prefix = ObjectPath::parse(prefix.trim_matches('/')).map_err(|_| bad("the prefix has parts that are none"))?;
    let name = name.to_owned();
    Ok(Place::Bucket(Bucket { service, name, prefix }))
}

impl Bucket {
    /// The URL, always written the same way.
    pub(super) fn url(&self) -> String {
        let (scheme, name) = (self.service.scheme(), &self.name);
        match self.prefix.as_ref() {
            "" => format!("{scheme}://{name}"),
            prefix => format!("{scheme}://{name}/{prefix}"),
        }
    }

    /// The prefixes above this one, the nearest first.
    pub(super) fn above(&self) -> Vec<Self> {
        let mut prefix: Vec<_> = self.prefix.parts().collect();
        let mut above = Vec::new();
        while prefix.pop().is_some() {
            above.push(Self {
                service: self.service,
                name: self.name.clone(),
                prefix: prefix.iter().cloned().collect(),
            });
        }
        above
    }

    pub(super) fn open(
        &self,
        url: &str,
        options: &StoreOptions,
        clock: Arc<StoreClock>,
    ) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let ca_file = options.get(CA_BUNDLE).map(PathBuf::from);
        let pace = Arc::clone(&options.pace);
        let connector = Connector::new(url, pace, clock, ca_file.as_deref(), options.environment)?;
        Ok(match self.service {
            Service::S3 => self.prefixed(s3(url, &self.name, options, connector)?),
            Service::Azure => self.prefixed(azure(url, &self.name, options, connector)?),
        })
    }

    fn prefixed<S: ObjectStore>(&self, store: S) -> Arc<dyn ObjectStore> {
        if self.prefix.as_ref().is_empty() {
            return Arc::new(store);
        }
        Arc::new(PrefixStore::new(store, self.prefix.clone()))
    }
}

/// Disables the client's own retries; `Retry` does that.
fn no_retries() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

fn s3(url: &str, bucket: &str, options: &StoreOptions, connector: Connector) -> Result<impl ObjectStore, StoreError> {
    let mut builder = AmazonS3Builder::new();
    let mut no_checksum = false;
    if options.environment {
        for (name, value) in of_environment("AWS_")? {
            if is_no_checksum(&name, &value) {
                no_checksum = true;
            } else if let Ok(key) = AmazonS3ConfigKey::from_str(&name) {
                builder = builder.with_config(key, value);
            }
        }
    }
    for (name, value) in &options.settings {
        if is_no_checksum(name, value) {
            no_checksum |= builder.get_config_value(&AmazonS3ConfigKey::Checksum).is_none();
        } else if let Ok(key) = AmazonS3ConfigKey::from_str(name)
            && let Some(value) = clean(name, value)?
            && builder.get_config_value(&key).is_none()
        {
            builder = builder.with_config(key, value);
        }
    }
    let has = |key| builder.get_config_value(&key).is_some_and(|value| is_set(&value));
    let (id, secret) = (
        has(AmazonS3ConfigKey::AccessKeyId),
        has(AmazonS3ConfigKey::SecretAccessKey),
    );
    // Only AWS has roles that could give keys.
    let elsewhere = has(AmazonS3ConfigKey::Endpoint) || has(AmazonS3ConfigKey::S3Endpoint);
    let unsigned = has(AmazonS3ConfigKey::SkipSignature);
    let has_checksum = has(AmazonS3ConfigKey::Checksum);
    let other = has(AmazonS3ConfigKey::RoleArn)
        || has(AmazonS3ConfigKey::ContainerCredentialsRelativeUri)
        || has(AmazonS3ConfigKey::ContainerCredentialsFullUri)
        || has(AmazonS3ConfigKey::MetadataEndpoint);
    match (id, secret) {
        (true, false) => return Err(no_keys(url, "AWS_SECRET_ACCESS_KEY is not set")),
        (false, true) => return Err(no_keys(url, "AWS_ACCESS_KEY_ID is not set")),
        (false, false) if elsewhere && !other && !unsigned => {
            return Err(no_keys(url, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"));
        }
        _ => {}
    }
    if !has_checksum && !no_checksum {
        builder = builder.with_checksum_algorithm(Checksum::SHA256);
    }
    let store = builder
        .with_bucket_name(bucket)
        .with_disable_bulk_delete(true)
        .with_retry(no_retries())
        .with_http_connector(connector)
        .build();
    store.map_err(|error| bad_setting(url, &error))
}

fn azure(
    url: &str,
    container: &str,
    options: &StoreOptions,
    connector: Connector,
) -> Result<impl ObjectStore, StoreError> {
    let mut builder = MicrosoftAzureBuilder::new();
    if options.environment {
        for (name, value) in of_environment("AZURE_")? {
            if let Ok(key) = AzureConfigKey::from_str(&name) {
                builder = builder.with_config(key, value);
            }
        }
        if let Ok(endpoint) = std::env::var(MANAGED_IDENTITY) {
            builder = builder.with_msi_endpoint(endpoint);
        }
    }
    for (name, value) in &options.settings {
        if let Ok(key) = AzureConfigKey::from_str(name)
            && let Some(value) = clean(name, value)?
            && builder.get_config_value(&key).is_none()
        {
            builder = builder.with_config(key, value);
        }
    }
    let has = |key| builder.get_config_value(&key).is_some_and(|value| is_set(&value));
    let emulator = has(AzureConfigKey::UseEmulator);
    if !emulator && !has(AzureConfigKey::AccountName) {
        return Err(no_keys(url, "AZURE_STORAGE_ACCOUNT_NAME is not set"));
    }
    let keys = [
        AzureConfigKey::AccessKey,
        AzureConfigKey::SasKey,
        AzureConfigKey::Token,
        AzureConfigKey::ClientSecret,
        AzureConfigKey::FederatedTokenFile,
        AzureConfigKey::MsiEndpoint,
        AzureConfigKey::UseAzureCli,
        AzureConfigKey::SkipSignature,
    ];
    if has(AzureConfigKey::Endpoint) && !emulator && !keys.into_iter().any(has) {
        return Err(no_keys(
            url,
            "neither AZURE_STORAGE_ACCOUNT_KEY nor AZURE_STORAGE_SAS_TOKEN is set",
        ));
    }
    let store = builder
        .with_container_name(container)
        .with_retry(no_retries())
        .with_http_connector(connector)
        .build();
    store.map_err(|error| bad_setting(url, &error))
}

/// Whether a setting says that uploads carry no checksum. `object_store` has no word for that.
fn is_no_checksum(name: &str, value: &str) -> bool {
    matches!(AmazonS3ConfigKey::from_str(name), Ok(AmazonS3ConfigKey::Checksum))
        && value.trim().eq_ignore_ascii_case("none")
}

/// Whether a switch is on. A switch that is off has a value, too.
fn is_set(value: &str) -> bool {
    !matches!(value, "" | "false")
}

fn no_keys(url: &str, reason: &str) -> StoreError {
    StoreError::Refused {
        what: Refusal::Keys,
        object: url.to_owned(),
        reason: reason.to_owned(),
    }
}

fn bad_setting(url: &str, error: &object_store::Error) -> StoreError {
    // The name that `object_store` gives its client would not help the user.
    let reason = match error {
        object_store::Error::Generic { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    StoreError::BadSetting {
        url: url.to_owned(),
        reason,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_one_place_however_it_is_written() {
        let url = |text: &str| match place(text) {
            Ok(Place::Bucket(bucket)) => bucket.url(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(url("s3://bucket"), "s3://bucket");
        assert_eq!(url("s3://bucket/"), "s3://bucket");
        assert_eq!(url("s3://bucket/a/b/"), "s3://bucket/a/b");
        assert_eq!(url("az://container/prefix"), "az://container/prefix");
        for bad in [
            "s3://",
            "s3:///x",
            "s3://ab",
            "s3://b:9/x",
            "s3://user@bucket",
            "s3://bucket/a//b",
            "s3://bucket/a?b",
        ] {
            assert!(matches!(place(bad), Err(StoreError::BadUrl { .. })), "{bad}");
        }
        assert!(matches!(place("gopher://x"), Err(StoreError::Unsupported { .. })));
        assert!(matches!(place("/srv/vault"), Ok(Place::Folder(_))));
    }

    #[test]
    fn settings_have_the_names_of_the_variables() {
        assert!(StoreOptions::knows("aws_endpoint_url") && StoreOptions::knows("azure_storage_account_key"));
        assert!(StoreOptions::knows("aws_ca_bundle"));
        assert!(StoreOptions::knows("aws_allow_http") && !StoreOptions::knows("aws_proxy_url"));
        assert!(!StoreOptions::knows("aws_allow_invalid_certificates") && !StoreOptions::knows("azure_timeout"));
        assert!(!StoreOptions::knows("aws_endpiont") && !StoreOptions::knows("endpoint"));
    }
    #[test]
    fn the_checksum_of_uploads_can_be_left_out() {
        let uploads_with = |algorithm: Option<&str>| {
            let mut settings = vec![
                ("aws_access_key_id".to_owned(), "key".to_owned()),
                ("aws_secret_access_key".to_owned(), "secret".to_owned()),
            ];
            settings.extend(algorithm.map(|name| ("aws_checksum_algorithm".to_owned(), name.to_owned())));
            let options = StoreOptions {
                settings: settings.into_iter().collect(),
                environment: false,
                ..StoreOptions::default()
            };
            let pace = Arc::new(super::super::pace::Unpaced);
            let connector = Connector::new("s3://bucket", pace, Arc::default(), None, false).unwrap();
            let store = format!("{:?}", s3("s3://bucket", "bucket", &options, connector).unwrap());
            let begin = store.find("checksum: ").unwrap();
            store[begin..].split([',', '}']).next().unwrap().to_owned()
        };
        assert_eq!(uploads_with(None), "checksum: Some(SHA256)");
        assert_eq!(uploads_with(Some("sha256")), "checksum: Some(SHA256)");
        assert_eq!(uploads_with(Some("none")), "checksum: None");
        assert_eq!(uploads_with(Some(" None ")), "checksum: None");
    }
}
