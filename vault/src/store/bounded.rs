//! Limits for the answers of a store. The client of an object store believes what an answer says about its length and
//! content. A broken store, or something that is not a store (a portal, an error page), must not fill the memory of
//! this machine, and must not pass for an empty vault.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, RANGE};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use super::fault::{Answer, WireFault, WireKind};

/// The longest answer that is neither an object nor a listing, bytes.
pub(super) const SMALL: u64 = 1024 * 1024;
/// The longest page of a listing, bytes. The longest one that S3 and Azure send has some MiB.
const LISTING: u64 = 32 * 1024 * 1024;
/// At most this many bytes of an error's text are kept.
const ERROR_TEXT: usize = 64 * 1024;

/// Whether a request asks for names and not for an object.
pub(super) fn is_listing(request: &Parts) -> bool {
    let query = request.uri.query().unwrap_or_default();
    let mut parts = query.split('&');
    request.method == Method::GET && parts.any(|part| part == "list-type=2" || part == "comp=list")
}

/// How long the body of the answer to a request may be, bytes.
pub(super) fn of_answer(request: &Parts) -> u64 {
    if is_listing(request) {
        return LISTING;
    }
    if request.method != Method::GET {
        return SMALL;
    }
    // Without a range the answer has to announce its length, and the reader has a limit for that.
    request.headers.get(RANGE).and_then(asked_range).unwrap_or(u64::MAX)
}

/// The length that `bytes=a-b` asks for.
fn asked_range(value: &http::HeaderValue) -> Option<u64> {
    let (from, to) = value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
    to.checked_sub(from)?.checked_add(1)
}

/// The length that an answer announces.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Whether a body that begins like this is a page for people. No object of a vault begins so; the type that an answer
/// gives itself does not tell, as some stores call everything HTML.
fn begins_web_page(start: &[u8]) -> bool {
    let start = start.trim_ascii_start();
    let begins = |with: &str| {
        start
            .get(..with.len())
            .is_some_and(|got| got.eq_ignore_ascii_case(with.as_bytes()))
    };
    begins("<!doctype html") || begins("<html")
}

/// A success must be a listing. Some stores report an error with the status of a success.
pub(super) fn check_listing(status: StatusCode, headers: &HeaderMap, text: &[u8]) -> Result<(), WireFault> {
    let body = String::from_utf8_lossy(text);
    if body.contains("<ListBucketResult") || body.contains("<EnumerationResults") {
        return Ok(());
    }
    let said = Answer {
        status,
        headers,
        body: &body,
    };
    Err(said.fault_of_success())
}

/// The text of an error. Nothing but its beginning is kept, however long it is. If it breaks off, the status has to do.
pub(super) async fn error_text<B>(mut body: B) -> Bytes
where
    B: Body<Data = Bytes, Error = WireFault> + Unpin,
{
    let mut text = Vec::new();
    while text.len() < ERROR_TEXT
        && let Some(Ok(frame)) = body.frame().await
    {
        let Ok(data) = frame.into_data() else { continue };
        text.extend_from_slice(&data[..data.len().min(ERROR_TEXT - text.len())]);
    }
    text.into()
}

/// A body that fails when it is longer than it may be, or a web page.
pub(super) struct Bounded<B> {
    inner: B,
    left: u64,
    has_begun: bool,
    host: Arc<str>,
}

impl<B> Bounded<B> {
    pub(super) fn new(inner: B, most: u64, host: Arc<str>) -> Self {
        Self {
            inner,
            left: most,
            has_begun: false,
            host,
        }
    }
}

impl<B: Body<Data = Bytes, Error = WireFault> + Unpin> Body for Bounded<B> {
    type Data = Bytes;
    type Error = WireFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, WireFault>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let Some(left) = this.left.checked_sub(data.len() as u64) else {
                let reason = format!("{}: the answer is longer than what was asked for", this.host);
                return Poll::Ready(Some(Err(WireFault::new(WireKind::Other, reason))));
            };
            this.left = left;
            if !std::mem::replace(&mut this.has_begun, true) && begins_web_page(data) {
                let reason = format!("{}: the answer is a web page and not from a store", this.host);
                return Poll::Ready(Some(Err(WireFault::passing(reason))));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http::Request;

    use super::*;

    fn most(method: &str, uri: &str, range: Option<&str>) -> u64 {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        of_answer(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn an_answer_may_be_as_long_as_what_was_asked_for() {
        assert_eq!(most("GET", "http://s/b/packs/x", Some("bytes=10-19")), 10);
        assert_eq!(most("GET", "http://s/b/x?comp=list&restype=container", None), LISTING);
        assert_eq!(most("PUT", "http://s/b/x", None), SMALL);
        assert_eq!(most("GET", "http://s/b/x", Some("bytes=19-10")), u64::MAX);
    }

    #[tokio::test]
    async fn a_body_without_end_is_not_gathered() {
        let endless = futures::stream::repeat_with(|| Ok::<_, WireFault>(Frame::data(Bytes::from_static(&[7; 1000]))));
        let body = Bounded::new(http_body_util::StreamBody::new(endless), 2500, "host".into());
        let fault = body.collect().await.unwrap_err();
        assert_eq!(fault.kind, WireKind::Other);
        let endless = futures::stream::repeat_with(|| Ok::<_, WireFault>(Frame::data(Bytes::from_static(&[7; 1000]))));
        let text = error_text(http_body_util::StreamBody::new(endless)).await;
        assert_eq!(text.len(), ERROR_TEXT);
    }

    #[test]
    fn what_is_not_a_listing_is_no_empty_one() {
        let check = |text: &str| check_listing(StatusCode::OK, &HeaderMap::new(), text.as_bytes());
        assert!(check("<?xml version=\"1.0\"?><ListBucketResult xmlns=\"x\"></ListBucketResult>").is_ok());
        let passing = WireKind::Passing(None);
        assert_eq!(check("<html><body>Sign in</body></html>").unwrap_err().kind, passing);
        assert_eq!(check("").unwrap_err().kind, passing);
        let refused = check("<Error><Code>ExpiredToken</Code></Error>").unwrap_err().kind;
        assert_eq!(refused, WireKind::Refused(super::super::Refusal::Expired));
    }
}
