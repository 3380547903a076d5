//! Where the bytes go, and who counts them.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use axum::http::Uri;
use lockstone_vault::store::pace::{Way, WirePace};
use lockstone_vault::store::{Store, StoreOptions};

use super::sink::{Arrivals, Sink};
use crate::agent::store_settings::StoreSettings;
use crate::failure::Failure;

/// Settings that name an endpoint, the first that is set counts.
const ENDPOINTS: [&str; 5] = [
    "aws_endpoint_url_s3",
    "aws_endpoint_url",
    "aws_endpoint",
    "azure_storage_endpoint",
    "azure_endpoint",
];

/// Where the bytes go.
#[derive(Debug, Clone)]
pub enum Target {
    /// To the built-in sink.
    Sink,
    /// To a vault, by these settings.
    Vault {
        /// Its URL.
        url: String,
        /// All that its store needs to know: of the environment and of the state folder.
        settings: BTreeMap<String, String>,
        /// The setting that names an endpoint of plain HTTP, and the host and port there.
        plain: Option<(&'static str, String)>,
    },
}

/// Who counted the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// The built-in sink: bodies as they arrive.
    Sink,
    /// A relay in front of the store: all that arrives, heads of requests too.
    Relay,
    /// The sender, as the throttle lets bytes go: a folder or a store of HTTPS cannot be looked into.
    Sender,
}

impl Counter {
    /// Its name in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Counter::Sink => "sink",
            Counter::Relay => "relay",
            Counter::Sender => "sender",
        }
    }
}

/// An open target. The receiving side ends with it.
#[derive(Debug)]
pub struct Opened {
    /// The store to put to.
    pub store: Store,
    /// The receiving side, where it is a thread of this process.
    pub sink: Option<Sink>,
}

impl Target {
    /// The target of a URL, or the sink.
    ///
    /// # Errors
    /// Where the settings in the state folder make no sense.
    pub fn of(vault: Option<&str>) -> Result<Target, Failure> {
        let Some(url) = vault else { return Ok(Target::Sink) };
        let mut settings = StoreSettings::load()?.variables;
        for (name, value) in std::env::vars() {
            let name = name.to_ascii_lowercase();
            if !value.is_empty() && StoreOptions::knows(&name) {
                settings.insert(name, value);
            }
        }
        let kind = match url.split_once("://") {
            Some(("s3", _)) => "aws_",
            Some(("az", _)) => "azure_",
            _ => "folder",
        };
        let endpoint = ENDPOINTS
            .into_iter()
            .filter(|name| name.starts_with(kind))
            .find_map(|name| Some((name, settings.get(name)?)));
        let plain = endpoint.and_then(|(name, at)| Some((name, plain_authority(at)?)));
        let url = url.to_owned();
        Ok(Target::Vault { url, settings, plain })
    }

    /// Who counts.
    #[must_use]
    pub fn counter(&self) -> Counter {
        match self {
            Target::Sink => Counter::Sink,
            Target::Vault { plain: Some(_), .. } => Counter::Relay,
            Target::Vault { plain: None, .. } => Counter::Sender,
        }
    }

    /// Opens it for bytes that go at a pace and are counted.
    ///
    /// # Errors
    /// Where the vault's URL or a setting makes no sense, or nothing is there.
    pub fn open(&self, pace: Arc<dyn WirePace>, arrivals: &Arc<Arrivals>) -> Result<Opened, Failure> {
        let no_sink = |error: std::io::Error| {
            Failure::failed("sink", format!("cannot listen on the loopback address: {error}"), "")
        };
        match self {
            Target::Sink => {
                let sink = Sink::store(arrivals).map_err(no_sink)?;
                let options = StoreOptions {
                    pace,
                    settings: settings_of_sink(&sink),
                    environment: false,
                };
                let store = Store::open_with("s3://bench", &options)?;
                Ok(Opened {
                    store,
                    sink: Some(sink),
                })
            }
            Target::Vault {
                url,
                settings,
                plain: Some((name, upstream)),
            } => {
                let sink = Sink::before(upstream.clone(), arrivals).map_err(no_sink)?;
                let mut settings = settings.clone();
                let through = settings
                    .get(*name)
                    .map(|at| at.replacen(upstream.as_str(), &sink.address.to_string(), 1));
                settings.extend(through.map(|at| ((*name).to_owned(), at)));
                let options = StoreOptions {
                    pace,
                    settings,
                    environment: false,
                };
                let store = Store::open_with(url, &options)?;
                Ok(Opened {
                    store,
                    sink: Some(sink),
                })
            }
            Target::Vault { url, settings, .. } => {
                let counted: Arc<dyn WirePace> = Arc::new(Counted {
                    inner: pace,
                    arrivals: Arc::clone(arrivals),
                });
                let options = StoreOptions {
                    pace: counted,
                    settings: settings.clone(),
                    environment: true,
                };
                let store = Store::open_with(url, &options)?;
                Ok(Opened { store, sink: None })
            }
        }
    }
}

/// The sink has any bucket, and accepts any keys.
fn settings_of_sink(sink: &Sink) -> BTreeMap<String, String> {
    let settings = [
        ("aws_endpoint_url", format!("http://{}", sink.address)),
        ("aws_access_key_id", "bench".to_owned()),
        ("aws_secret_access_key", "bench".to_owned()),
        ("aws_region", "us-east-1".to_owned()),
    ];
    settings.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Host and port of an endpoint that speaks plain HTTP.
fn plain_authority(endpoint: &str) -> Option<String> {
    let uri: Uri = endpoint.parse().ok()?;
    let authority = uri.authority()?;
    // Without a port the relay would have to guess one, and the endpoint's text would not hold it.
    (uri.scheme_str() == Some("http") && authority.port().is_some()).then(|| authority.to_string())
}

/// Counts what a pace lets go.
#[derive(Debug)]
struct Counted {
    inner: Arc<dyn WirePace>,
    arrivals: Arc<Arrivals>,
}

#[async_trait]
impl WirePace for Counted {
    fn piece(&self, way: Way) -> Option<usize> {
        self.inner.piece(way)
    }

    async fn bytes(&self, way: Way, bytes: usize) {
        self.inner.bytes(way, bytes).await;
        self.arrivals.count(bytes);
    }

    async fn request(&self) {
        self.inner.request().await;
    }
}

/// The throttle's pace, in pieces of another length than its own.
#[derive(Debug)]
pub struct Cut {
    /// The throttle's.
    pub inner: Arc<dyn WirePace>,
    /// Bytes.
    pub piece: usize,
}

#[async_trait]
impl WirePace for Cut {
    fn piece(&self, way: Way) -> Option<usize> {
        self.inner.piece(way).map(|_| self.piece)
    }

    async fn bytes(&self, way: Way, bytes: usize) {
        self.inner.bytes(way, bytes).await;
    }

    async fn request(&self) {
        self.inner.request().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_stands_only_before_what_it_can_hand_on() {
        let authority = |text: &str| plain_authority(text);
        assert_eq!(authority("http://127.0.0.1:9000/"), Some("127.0.0.1:9000".to_owned()));
        assert_eq!(authority("http://[::1]:9000"), Some("[::1]:9000".to_owned()));
        for other in ["https://127.0.0.1:9000", "http://store", "nonsense", ""] {
            assert_eq!(authority(other), None, "{other}");
        }
    }
}
