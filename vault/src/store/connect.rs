//! The HTTP client that `object_store` uses. It is made here so that every body passes the pace, every wait has a
//! limit, and every fault is classified where it happens (`fault`).
//!
//! One connection serves many requests, one after another. Redirects are not followed: a body that was sent cannot be
//! sent again from here, and a redirect means that the bucket is in another region. Nothing is retried here either:
//! `Retry` repeats whole operations.
//!
//! A request is signed before it gets here. If the pace then holds it for long, it is not sent: `Retry` begins it again
//! with a fresh signature, and what the pace allowed is kept for it (`spare`).
//!
//! No answer is believed to be as long as its sender likes: `bounded`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use reqwest::Client;

use super::StoreError;
use super::body::{Awaited, Paced, Watch, stalled};
use super::bounded::{self, Bounded};
use super::clock::StoreClock;
use super::fault::{Answer, Refusal, WireFault, WireKind, no_answer};
use super::no_proxy::NoProxy;
use super::pace::{Direction, LinePace};

/// If no connection is made within this time, the store counts as not reached.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// The same limit for the metadata service of a cloud machine. It runs on the same host or not at all.
const METADATA_WITHIN: Duration = Duration::from_secs(2);
/// A body that does not move for this long, and is not held by the pace, has stalled. Bytes that were handed to the
/// kernel count as moved, so a slow line has this time to take some MiB.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(120);
/// The same limit for a store that has not answered this process at all.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// A request that the pace held for longer is not sent with the signature that it has. Stores refuse signatures that
/// are 15 minutes old.
const STALE_AFTER: Duration = Duration::from_secs(60);
/// If sent bytes are not acknowledged within this time, the connection counts as lost.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);
/// Idle connections are closed after this time: before the store closes them, so that no request meets a closing one.
const IDLE: Duration = Duration::from_secs(15);
/// Waited for before a paced download begins, so that a pause holds the request and not the middle of the body.
const FIRST_BYTES: usize = 4096;

/// Makes the clients of one store.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    store: Client,
    /// A client without proxies, and the hosts that are asked by it.
    direct: Option<(Client, NoProxy)>,
    metadata: Client,
    pace: Arc<dyn LinePace>,
    stale_after: Duration,
    spare: Arc<Spare>,
    /// Whether the store has answered anything.
    answered: Arc<AtomicBool>,
    clock: Arc<StoreClock>,
}

/// What the pace allowed to requests that were too old by then. The requests that come next use it up.
#[derive(Debug, Default)]
struct Spare {
    requests: AtomicUsize,
    up: AtomicUsize,
    down: AtomicUsize,
}

impl Spare {
    fn bytes(&self, direction: Direction) -> &AtomicUsize {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    fn take(from: &AtomicUsize, most: usize) -> usize {
        let taken = from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left - left.min(most)));
        taken.map_or(0, |left| left.min(most))
    }
}

impl Connector {
    /// `ca_file`: certificates in PEM, trusted in addition to the system's. `proxies`: whether proxies of the
    /// environment are used.
    pub(super) fn new(
        url: &str,
        pace: Arc<dyn LinePace>,
        clock: Arc<StoreClock>,
        ca_file: Option<&Path>,
        proxies: bool,
    ) -> Result<Self, StoreError> {
        let bad = |reason: String| StoreError::BadSetting {
            url: url.to_owned(),
            reason,
        };
        let mut certificates = Vec::new();
        if let Some(file) = ca_file {
            let failed = |why: String| bad(format!("the certificates in {} cannot be used: {why}", file.display()));
            let pem = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
            certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| failed(error.to_string()))?;
            if certificates.is_empty() {
                return Err(failed("there are none".to_owned()));
            }
        }
        let client = |proxies: bool| {
            let client = Client::builder()
                .user_agent(concat!("lockstone/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT_WITHIN)
                .pool_idle_timeout(IDLE)
                .tcp_keepalive(Duration::from_secs(30))
                .tcp_user_timeout(UNACKNOWLEDGED);
            let client = if proxies { client } else { client.no_proxy() };
            if certificates.is_empty() {
                client.build()
            } else {
                client.tls_certs_merge(certificates.clone()).build()
            }
        };
        let metadata = Client::builder()
            .no_proxy()
            .connect_timeout(METADATA_WITHIN)
            .timeout(METADATA_WITHIN * 2);
        let failed = |error: reqwest::Error| bad(format!("no HTTP client: {error}"));
        let direct = match NoProxy::of_environment().filter(|_| proxies) {
            Some(hosts) => Some((client(false).map_err(failed)?, hosts)),
            None => None,
        };
        Ok(Self {
            store: client(proxies).map_err(failed)?,
            direct,
            metadata: metadata.build().map_err(failed)?,
            pace,
            stale_after: STALE_AFTER,
            spare: Arc::default(),
            answered: Arc::default(),
            clock,
        })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let host: Arc<str> = request
            .uri()
            .authority()
            .map_or("", |authority| authority.as_str())
            .into();
        if is_metadata(&host) {
            return ask_metadata(&self.metadata, request).await.map_err(wrap);
        }
        self.ask(request, host).await.map_err(wrap)
    }
}

impl Connector {
    async fn ask(&self, request: HttpRequest, host: Arc<str>) -> Result<HttpResponse, WireFault> {
        let (parts, body) = request.into_parts();
        let (upload, head) = (body.content_length(), parts.method == Method::HEAD);
        let signed = Instant::now();
        if Spare::take(&self.spare.requests, 1) == 0 {
            self.pace.request().await;
        }
        // The store may cut off requests that are under way when a pause begins. Requests that begin during a pause
        // wait here.
        let sent = self.first(Direction::Up, upload).await;
        let wanted = if parts.method == Method::GET { FIRST_BYTES } else { 0 };
        let received = self.first(Direction::Down, wanted).await;
        if signed.elapsed() >= self.stale_after {
            self.spare.requests.fetch_add(1, Ordering::Relaxed);
            self.spare.up.fetch_add(sent, Ordering::Relaxed);
            self.spare.down.fetch_add(received, Ordering::Relaxed);
            return Err(WireFault::new(
                WireKind::Outwaited,
                "held for longer than its signature lasts",
            ));
        }

        let watch = Arc::new(Watch::new());
        let paced = Paced::new(body, Direction::Up, Arc::clone(&self.pace), Arc::clone(&watch), sent);
        let url = url_of(&parts.uri, &host)?;
        let most = bounded::of_answer(&parts);
        let listing = bounded::is_listing(&parts);
        let client = match &self.direct {
            Some((direct, hosts)) if hosts.names(&url) => direct,
            _ => &self.store,
        };
        let mut asked = reqwest::Request::new(parts.method, url);
        *asked.headers_mut() = parts.headers;
        if upload > 0 {
            *asked.body_mut() = Some(reqwest::Body::wrap(paced));
        }
        let limit = if self.answered.load(Ordering::Relaxed) {
            STALLED_AFTER
        } else {
            FIRST_ANSWER
        };
        let answer = tokio::select! {
            answer = client.execute(asked) => answer.map_err(|error| no_answer(&host, &error))?,
            () = watch.stalled(limit) => return Err(stalled(&host, limit)),
        };
        self.answered.store(true, Ordering::Relaxed);
        let (parts, body) = Response::<reqwest::Body>::from(answer).into_parts();
        let body = Awaited::new(body, STALLED_AFTER, Arc::clone(&host));
        if !parts.status.is_success() {
            let body = if head {
                Bytes::new()
            } else {
                bounded::error_text(body).await
            };
            let sorted = sorted(Response::from_parts(parts, body));
            // A slow body makes a signature old, too. Then this machine's clock is not at fault.
            return match sorted {
                Err(fault) if fault.kind == WireKind::Refused(Refusal::Clock) && signed.elapsed() >= STALE_AFTER => {
                    Err(WireFault::passing(fault.reason))
                }
                sorted => sorted,
            };
        }
        self.clock.answered(&parts.headers);
        let most = bounded::announced(&parts.headers).map_or(most, |len| most.min(len));
        let paced = Paced::new(body, Direction::Down, Arc::clone(&self.pace), watch, received);
        let body = Bounded::new(paced, most, Arc::clone(&host));
        if listing {
            let text = body.collect().await?.to_bytes();
            bounded::check_listing(parts.status, &parts.headers, &text)?;
            return Ok(Response::from_parts(parts, HttpResponseBody::from(text)));
        }
        Ok(Response::from_parts(parts, HttpResponseBody::new(body.map_err(wrap))))
    }

    /// Waits for the first piece of a body of `len` bytes. Returns how many bytes may go.
    async fn first(&self, direction: Direction, len: usize) -> usize {
        match self.pace.piece(direction) {
            Some(piece) if len > 0 => {
                let len = piece.clamp(1, len);
                let spare = Spare::take(self.spare.bytes(direction), len);
                if spare > 0 {
                    return spare;
                }
                self.pace.bytes(direction, len).await;
                len
            }
            _ => 0,
        }
    }
}

/// An answer that is not a success: either a fault, or one that `object_store` understands.
fn sorted(answer: Response<Bytes>) -> Result<HttpResponse, WireFault> {
    let said = Answer {
        status: answer.status(),
        headers: answer.headers(),
        body: &String::from_utf8_lossy(answer.body()),
    };
    match said.fault() {
        Some(fault) => Err(fault),
        None => Ok(answer.map(HttpResponseBody::from)),
    }
}

/// The service that tells cloud machines the keys of their role. It is asked only if no keys are set.
fn is_metadata(host: &str) -> bool {
    host.starts_with("169.254.")
}

async fn ask_metadata(client: &Client, request: HttpRequest) -> Result<HttpResponse, WireFault> {
    let no_keys = |why: String| {
        let reason = format!("no keys are set, and this machine has no role that gives some ({why})");
        WireFault::new(WireKind::Refused(Refusal::Keys), reason)
    };
    let (parts, body) = request.into_parts();
    let url = url_of(&parts.uri, "the metadata service")?;
    let mut asked = reqwest::Request::new(parts.method, url);
    *asked.headers_mut() = parts.headers;
    *asked.body_mut() = Some(reqwest::Body::wrap(body));
    let answer = client.execute(asked).await;
    let answer = answer.map_err(|error| no_keys(no_answer("the metadata service", &error).reason))?;
    let (parts, body) = Response::<reqwest::Body>::from(answer).into_parts();
    if !matches!(parts.status, StatusCode::OK) {
        return Err(no_keys(format!("the metadata service says {}", parts.status)));
    }
    let body = body.map_err(|error| no_answer("the metadata service", &error));
    let body = Bounded::new(body, bounded::SMALL, "the metadata service".into());
    Ok(Response::from_parts(parts, HttpResponseBody::new(body.map_err(wrap))))
}

fn url_of(uri: &http::Uri, host: &str) -> Result<reqwest::Url, WireFault> {
    let parsed = uri.to_string().parse();
    parsed.map_err(|error| WireFault::new(WireKind::Other, format!("{host}: {error}")))
}

/// `object_store` keeps the fault as a source. Its own retries are off, so it does not use the kind.
fn wrap(fault: WireFault) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, fault)
}

#[cfg(test)]
mod tests;
