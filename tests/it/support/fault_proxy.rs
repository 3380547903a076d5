//! A proxy on loopback between the program and an object store that fails as networks and stores fail. It counts
//! requests and chooses those that fail by the count, so that each run meets the same faults.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use bytes::Bytes;
use futures::{StreamExt, stream};

/// What the proxy does to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It passes everything on.
    None,
    /// Each request is delayed by this time.
    Delay(Duration),
    /// Each request is delayed by this time, and every tenth is not passed on but answered with 503.
    Flaky(Duration),
    /// Every third request is not passed on but answered with this status and a Retry-After header.
    Answer(u16),
    /// Every third request that creates an object is not passed on but answered with this status.
    AnswerCreate(u16),
    /// Every second create is passed on, but the connection is closed without its answer.
    DropReply,
    /// Every third answer with a body is cut off in the middle.
    CutDownload,
    /// For every third create, the body is read and then the connection is closed.
    CutUpload,
    /// Every listing is answered as the first one of the same URL was.
    StaleListings,
    /// After this many packs were created, all connections are closed.
    AwayAfter(u64),
    /// Every request is answered with this status and this S3 error code.
    Refuse(u16, &'static str),
    /// Every read of a pack after this many is answered with this status and this S3 error code.
    RefusePacksAfter(u64, u16, &'static str),
    /// The first answer for each part of a pack has a flipped byte. The next ones are right.
    GarblePacksOnce,
    /// Every request that deletes is answered with this status and this S3 error code.
    RefuseDelete(u16, &'static str),
    /// The store's clock shows so many seconds more than this machine's.
    Clock(i64),
}

#[derive(Debug)]
struct Inner {
    to: String,
    client: reqwest::Client,
    fault: Mutex<Fault>,
    requests: AtomicU64,
    packs: AtomicU64,
    harmed: AtomicU64,
    listings: Mutex<HashMap<String, (StatusCode, HeaderMap, Bytes)>>,
    garbled: Mutex<HashSet<String>>,
}

/// A running proxy.
pub(crate) struct Proxy {
    inner: Arc<Inner>,
    pub endpoint: String,
    _runtime: tokio::runtime::Runtime,
}

impl Proxy {
    /// Starts a proxy in front of `to` that passes everything on.
    pub(crate) fn new(to: &str) -> Proxy {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let inner = Arc::new(Inner {
            to: to.to_owned(),
            client: reqwest::Client::new(),
            fault: Mutex::new(Fault::None),
            requests: AtomicU64::new(0),
            packs: AtomicU64::new(0),
            harmed: AtomicU64::new(0),
            listings: Mutex::default(),
            garbled: Mutex::default(),
        });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(pass).with_state(Arc::clone(&inner));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Proxy {
            inner,
            endpoint,
            _runtime: runtime,
        }
    }

    /// Changes what the proxy does from now on.
    pub(crate) fn set(&self, fault: Fault) {
        for count in [&self.inner.requests, &self.inner.packs, &self.inner.harmed] {
            count.store(0, Ordering::SeqCst);
        }
        *self.inner.fault.lock().unwrap() = fault;
    }

    /// How many requests have failed since then.
    pub(crate) fn harmed(&self) -> u64 {
        self.inner.harmed.load(Ordering::SeqCst)
    }
}

/// Ends the connection without an answer. A panic in a handler ends the connection's task.
fn hang_up() -> ! {
    std::panic::resume_unwind(Box::new("the proxy hangs up"))
}

impl Inner {
    /// Whether this is an `n`-th request.
    fn turn(&self, n: u64) -> bool {
        self.requests.fetch_add(1, Ordering::SeqCst) % n == n - 1
    }

    fn harm(&self) {
        self.harmed.fetch_add(1, Ordering::SeqCst);
    }

    async fn forward(
        &self,
        method: &Method,
        uri: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let mut request = self
            .client
            .request(method.clone(), format!("{}{uri}", self.to))
            .headers(headers);
        if !body.is_empty() {
            request = request.body(body);
        }
        let answer = request.send().await.unwrap();
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        headers.remove(header::TRANSFER_ENCODING);
        headers.remove(header::CONNECTION);
        (status, headers, answer.bytes().await.unwrap())
    }
}

fn answer(status: StatusCode, headers: HeaderMap, body: impl Into<Body>) -> Response<Body> {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

fn refusal(number: u16, code: &str) -> Response<Body> {
    let status = StatusCode::from_u16(number).unwrap();
    let text = format!("<Error><Code>{code}</Code><Message>by order of the test</Message></Error>");
    let mut headers = HeaderMap::new();
    headers.insert(header::RETRY_AFTER, "0".parse().unwrap());
    headers.insert("x-ms-error-code", code.parse().unwrap());
    answer(status, headers, text)
}

async fn pass(State(inner): State<Arc<Inner>>, request: Request) -> Response<Body> {
    let fault = *inner.fault.lock().unwrap();
    let (parts, body) = request.into_parts();
    let uri = parts.uri.path_and_query().unwrap().to_string();
    let creates = parts.method == Method::PUT;
    let deletes = parts.method == Method::DELETE || parts.method == Method::POST;
    let lists = uri.contains("list-type=2") || uri.contains("comp=list");
    let harm = match fault {
        Fault::None | Fault::StaleListings => false,
        Fault::Delay(_) | Fault::Refuse(..) | Fault::Clock(_) => true,
        Fault::Flaky(_) => inner.turn(10),
        Fault::Answer(_) => inner.turn(3),
        Fault::CutDownload => parts.method == Method::GET && inner.turn(3),
        Fault::AnswerCreate(_) | Fault::CutUpload => creates && inner.turn(3),
        Fault::DropReply => creates && inner.turn(2),
        Fault::RefuseDelete(..) => deletes,
        Fault::GarblePacksOnce => {
            let range = parts.headers.get(header::RANGE);
            let part = format!("{uri} {range:?}");
            uri.contains("/packs/") && parts.method == Method::GET && inner.garbled.lock().unwrap().insert(part)
        }
        Fault::RefusePacksAfter(reads, ..) => {
            let read = parts.method == Method::GET && uri.contains("/packs/");
            read && inner.packs.fetch_add(1, Ordering::SeqCst) >= reads
        }
        Fault::AwayAfter(packs) => inner.packs.load(Ordering::SeqCst) >= packs,
    };
    if harm {
        inner.harm();
    }
    match fault {
        Fault::Delay(time) => tokio::time::sleep(time).await,
        Fault::Flaky(time) => {
            tokio::time::sleep(time).await;
            if harm {
                return refusal(503, "SlowDown");
            }
        }
        Fault::AwayAfter(_) if harm => hang_up(),
        Fault::Answer(number) | Fault::AnswerCreate(number) if harm => return refusal(number, "Faulty"),
        Fault::Refuse(number, code) | Fault::RefuseDelete(number, code) | Fault::RefusePacksAfter(_, number, code)
            if harm =>
        {
            return refusal(number, code);
        }
        _ => {}
    }
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        hang_up()
    };
    if harm && fault == Fault::CutUpload {
        hang_up();
    }
    if creates && uri.contains("/packs/") {
        inner.packs.fetch_add(1, Ordering::SeqCst);
    }
    let remembered = (lists && fault == Fault::StaleListings)
        .then(|| inner.listings.lock().unwrap().get(&uri).cloned())
        .flatten();
    if let Some((status, headers, body)) = remembered {
        inner.harm();
        return answer(status, headers, body);
    }
    let (status, headers, body) = inner.forward(&parts.method, &uri, parts.headers, body).await;
    if harm && fault == Fault::DropReply {
        hang_up();
    }
    let mut headers = headers;
    if let Fault::Clock(ahead) = fault {
        let shows = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&shows);
        headers.insert(header::DATE, date.unwrap().parse().unwrap());
    }
    if lists && fault == Fault::StaleListings {
        let now = (status, headers.clone(), body.clone());
        inner.listings.lock().unwrap().insert(uri, now);
    }
    if harm && fault == Fault::GarblePacksOnce && !body.is_empty() {
        let mut garbled = body.to_vec();
        garbled[body.len() / 2] ^= 0x10;
        return answer(status, headers, garbled);
    }
    if harm && fault == Fault::CutDownload && body.len() > 1 {
        let half = body.slice(..body.len() / 2);
        let cut = stream::iter([Ok(half)]).chain(stream::once(async { Err(std::io::Error::other("cut")) }));
        return answer(status, headers, Body::from_stream(cut));
    }
    answer(status, headers, body)
}
