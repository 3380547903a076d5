//! Where the bytes go, and where they are counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use axum::http::Uri;
use lockstone_vault::store::pace::{Direction, LinePace};
use lockstone_vault::store::{Store, StoreOptions};

use super::VaultStore;
use super::sink::{Arrivals, Sink};
use crate::failure::Failure;

/// The settings that name an endpoint. The first one that is set is used.
const ENDPOINTS: [&str; 5] = [
    "aws_endpoint_url_s3",
    "aws_endpoint_url",
    "aws_endpoint",
    "azure_storage_endpoint",
    "azure_endpoint",
];

/// Where the bytes go.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// The built-in sink.
    Sink,
    /// The store of a vault.
    Vault {
        url: String,
        /// The settings of the environment and of the state folder.
        settings: BTreeMap<String, String>,
        /// If the endpoint speaks plain HTTP: the setting that names it, and its host and port.
        plain: Option<(&'static str, String)>,
    },
}

/// Where the bytes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counter {
    /// In the built-in sink, which counts bodies as they arrive.
    Sink,
    /// In a relay in front of the store, which counts everything that arrives, also the heads of requests.
    Relay,
    /// In the sender, when the throttle lets the bytes go. Arrivals in a folder or behind HTTPS cannot be seen.
    Sender,
}

impl Counter {
    /// The name in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Counter::Sink => "sink",
            Counter::Relay => "relay",
            Counter::Sender => "sender",
        }
    }
}

/// An open target. The receiving side ends when this is dropped.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Store,
    /// The receiving side, if it is a thread of this process.
    pub(super) sink: Option<Sink>,
}

impl Target {
    /// The store of a vault. Settings of the environment win over those of the state folder.
    pub(super) fn vault(vault: VaultStore) -> Target {
        let VaultStore { url, mut settings } = vault;
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
        Target::Vault { url, settings, plain }
    }

    /// Where the bytes are counted.
    pub(super) fn counter(&self) -> Counter {
        match self {
            Target::Sink => Counter::Sink,
            Target::Vault { plain: Some(_), .. } => Counter::Relay,
            Target::Vault { plain: None, .. } => Counter::Sender,
        }
    }

    /// Opens the target. Bytes go at this pace and are counted as arrivals.
    pub(super) fn open(&self, pace: Arc<dyn LinePace>, arrivals: &Arc<Arrivals>) -> Result<Opened, Failure> {
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
                let sink = Sink::relay(upstream.clone(), arrivals).map_err(no_sink)?;
                let mut settings = settings.clone();
                let relayed = settings
                    .get(*name)
                    .map(|at| at.replacen(upstream.as_str(), &sink.address.to_string(), 1));
                settings.extend(relayed.map(|at| ((*name).to_owned(), at)));
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
                let counted: Arc<dyn LinePace> = Arc::new(CountingPace {
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

/// The settings for the sink, which has every bucket and accepts all keys.
fn settings_of_sink(sink: &Sink) -> BTreeMap<String, String> {
    let settings = [
        ("aws_endpoint_url", format!("http://{}", sink.address)),
        ("aws_access_key_id", "bench".to_owned()),
        ("aws_secret_access_key", "bench".to_owned()),
        ("aws_region", "us-east-1".to_owned()),
    ];
    settings.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The host and port of an endpoint that speaks plain HTTP.
fn plain_authority(endpoint: &str) -> Option<String> {
    let uri: Uri = endpoint.parse().ok()?;
    let authority = uri.authority()?;
    // The port must be in the text, because the relay's address replaces host and port there.
    (uri.scheme_str() == Some("http") && authority.port().is_some()).then(|| authority.to_string())
}

/// Counts the bytes that a pace lets go.
#[derive(Debug)]
struct CountingPace {
    inner: Arc<dyn LinePace>,
    arrivals: Arc<Arrivals>,
}

#[async_trait]
impl LinePace for CountingPace {
    fn piece(&self, direction: Direction) -> Option<usize> {
        self.inner.piece(direction)
    }

    async fn bytes(&self, direction: Direction, bytes: usize) {
        self.inner.bytes(direction, bytes).await;
        self.arrivals.count(bytes);
    }

    async fn request(&self) {
        self.inner.request().await;
    }
}

/// The throttle's pace with pieces of a given length.
#[derive(Debug)]
pub(super) struct FixedPiecePace {
    pub(super) inner: Arc<dyn LinePace>,
    /// The length of a piece, in bytes.
    pub(super) piece: usize,
}

#[async_trait]
impl LinePace for FixedPiecePace {
    fn piece(&self, direction: Direction) -> Option<usize> {
        self.inner.piece(direction).map(|_| self.piece)
    }

    async fn bytes(&self, direction: Direction, bytes: usize) {
        self.inner.bytes(direction, bytes).await;
    }

    async fn request(&self) {
        self.inner.request().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_used_only_for_plain_http_with_a_port() {
        let authority = |text: &str| plain_authority(text);
        assert_eq!(authority("http://127.0.0.1:9000/"), Some("127.0.0.1:9000".to_owned()));
        assert_eq!(authority("http://[::1]:9000"), Some("[::1]:9000".to_owned()));
        for other in ["https://127.0.0.1:9000", "http://store", "nonsense", ""] {
            assert_eq!(authority(other), None, "{other}");
        }
    }
}
