//! A proxy on loopback between the program and an object store that does what networks and stores do on bad days. It
//! counts requests, and does harm by the count, so that each run meets the same faults.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use bytes::Bytes;
use futures::{StreamExt, stream};

/// What it does to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Each waits so long.
    Delay(Duration),
    /// Each waits so long, and every tenth is not passed on but answered with 503.
    Flaky(Duration),
    /// Every third is not passed on and answered with this number, and Retry-After.
    Answer(u16),
    /// Every third that creates something is not passed on and answered with this number.
    AnswerCreate(u16),
    /// Every second create is passed on, and its answer dropped with the connection.
    DropReply,
    /// Every third answer with a body ends in its middle.
    CutDownload,
    /// Every third create's body is read, and the connection dropped.
    CutUpload,
    /// Every listing is what the first of its kind was.
    StaleListings,
    /// After so many packs were created, all connections are dropped.
    AwayAfter(u64),
    /// All answers are this number and this code of S3's.
    Refuse(u16, &'static str),
    /// The same, of requests that delete.
    RefuseDelete(u16, &'static str),
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
}

/// A running proxy.
pub(crate) struct Proxy {
    inner: Arc<Inner>,
    pub endpoint: String,
    _runtime: tokio::runtime::Runtime,
}

impl Proxy {
    /// In front of `to`, harmless for now.
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

    /// Does this from now on.
    pub(crate) fn set(&self, fault: Fault) {
        for count in [&self.inner.requests, &self.inner.packs, &self.inner.harmed] {
            count.store(0, Ordering::SeqCst);
        }
        *self.inner.fault.lock().unwrap() = fault;
    }

    /// To how many requests harm was done since.
    pub(crate) fn harmed(&self) -> u64 {
        self.inner.harmed.load(Ordering::SeqCst)
    }
}

/// Ends the connection without a word: what else unwinds in a handler takes the connection's task with it.
fn hang_up() -> ! {
    std::panic::resume_unwind(Box::new("the proxy hangs up"))
}

impl Inner {
    /// Every `n`-th of them.
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
        Fault::Delay(_) | Fault::Refuse(..) => true,
        Fault::Flaky(_) => inner.turn(10),
        Fault::Answer(_) => inner.turn(3),
        Fault::CutDownload => parts.method == Method::GET && inner.turn(3),
        Fault::AnswerCreate(_) | Fault::CutUpload => creates && inner.turn(3),
        Fault::DropReply => creates && inner.turn(2),
        Fault::RefuseDelete(..) => deletes,
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
        Fault::Refuse(number, code) | Fault::RefuseDelete(number, code) if harm => return refusal(number, code),
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
    if lists && fault == Fault::StaleListings {
        let now = (status, headers.clone(), body.clone());
        inner.listings.lock().unwrap().insert(uri, now);
    }
    if harm && fault == Fault::CutDownload && body.len() > 1 {
        let half = body.slice(..body.len() / 2);
        let cut = stream::iter([Ok(half)]).chain(stream::once(async { Err(std::io::Error::other("cut")) }));
        return answer(status, headers, Body::from_stream(cut));
    }
    answer(status, headers, body)
}
