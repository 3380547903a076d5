//! What went wrong between this machine and an object store. The connector classifies each fault once, where the answer
//! is at hand, so that later code decides by a type and not by words. A `WireFault` travels inside
//! `object_store::Error` as a source; `StoreError::sort` and the `Retry` decorator find it there.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use crate::kind::{Kind, is_out_of_handles, is_shortage, limit_words};

/// The longest pause that is kept when a store asks for one.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
/// At most this many characters of a store's own text go into a message.
const MAX_REASON_CHARS: usize = 300;

/// Why an object store refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The store does not accept the keys, or there are none.
    Keys,
    /// The keys, or the session token, were valid and are no longer.
    Expired,
    /// The keys do not allow what was asked.
    NotAllowed,
    /// The store moved the object to an archive, from which it cannot be read at once.
    Archived,
    /// Its clock and this machine's are too far apart.
    Clock,
    /// There is no such bucket or container.
    NoBucket,
    /// The bucket is elsewhere.
    Region,
    /// The endpoint redirects to another address.
    Redirected,
    /// The store does not know a kind of request that a vault needs.
    Unsupported,
    /// The store, or a proxy before it, takes no bodies of this length.
    TooLong,
    /// No secure connection could be made.
    Tls,
    /// A proxy between this machine and the store refuses.
    Proxy,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keys => "the store does not accept the keys",
            Self::Expired => "the keys of the store have expired",
            Self::NotAllowed => "the store does not allow it",
            Self::Archived => "the store has moved it to an archive",
            Self::Clock => "the clocks of the store and of this machine are too far apart",
            Self::NoBucket => "the store has no such bucket or container",
            Self::Region => "the bucket is in another region",
            Self::Redirected => "the endpoint redirects to another address",
            Self::Unsupported => "the store does not support what a vault needs",
            Self::TooLong => "the store, or a proxy before it, takes no bodies of this length",
            Self::Tls => "no secure connection to the store",
            Self::Proxy => "the proxy does not let it through",
        })
    }
}

impl Refusal {
    /// Whether access is refused, or the settings or the clock of this machine have to be corrected.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Keys | Self::Expired | Self::NotAllowed | Self::Archived | Self::Proxy => Kind::Refused,
            Self::Clock
            | Self::NoBucket
            | Self::Region
            | Self::Redirected
            | Self::Unsupported
            | Self::TooLong
            | Self::Tls => Kind::Misconfigured,
        }
    }

    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Keys => {
                "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or `AZURE_STORAGE_ACCOUNT_NAME` and \
                 `AZURE_STORAGE_ACCOUNT_KEY`, to keys that this store accepts; for a timer or a service, write them \
                 to `store.json` in the state folder"
            }
            Self::Expired => {
                "set `AWS_SESSION_TOKEN` and the keys that belong to it, or `AZURE_STORAGE_SAS_TOKEN`, to new ones, \
                 then run the same command again: it continues where it stopped"
            }
            Self::Archived => {
                "bring the vault's objects back from the archive with the store's own tools, then run the same \
                 command again; a vault must not be in a storage class that has to be thawed"
            }
            Self::NotAllowed => {
                "the keys must be allowed to list, read and create below the vault's prefix, and for collecting to \
                 delete: docs/operations.md has the policies"
            }
            Self::Clock => "set this machine's clock (`timedatectl set-ntp true`), then run the command again",
            Self::NoBucket => "correct the URL or the endpoint, or make the bucket with the store's own tools",
            Self::Region => "set `AWS_REGION` to the region of the bucket",
            Self::Redirected => "set `AWS_ENDPOINT_URL` to the address it redirects to, with its scheme",
            Self::Unsupported => {
                "use a store that knows `If-None-Match` on uploads (docs/operations.md names some); if it is the \
                 checksum that it does not know, set `AWS_CHECKSUM_ALGORITHM=none`"
            }
            Self::TooLong => "raise the limit of bodies there to 32 MiB (nginx: `client_max_body_size`)",
            Self::Tls => {
                "check that the endpoint is https, its name and its certificate; `SSL_CERT_FILE` or `AWS_CA_BUNDLE` \
                 names certificates to trust"
            }
            Self::Proxy => "correct `HTTPS_PROXY` or `HTTP_PROXY`, or name the store in `NO_PROXY`",
        }
    }
}

/// A fault, with the reason in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct WireFault {
    pub(crate) kind: WireKind,
    pub(crate) reason: String,
}

/// What a fault means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WireKind {
    /// May pass: the store was not reached, is overloaded, or the connection broke. With the pause that the store asked
    /// for.
    Passing(Option<Duration>),
    /// The pace held the request for so long that its signature may be too old. It was not sent.
    Outwaited,
    /// One object cannot be read. Others can.
    Unreadable,
    /// Tried for this long without success.
    Away(Duration),
    /// This machine has no file handle or no memory for the request. With the time it was tried, once it is given up.
    Shortage(Option<Duration>),
    /// The store refuses.
    Refused(Refusal),
    /// No space.
    Full,
    /// Anything else.
    Other,
}

impl WireFault {
    pub(crate) fn new(kind: WireKind, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { kind, reason }
    }

    pub(crate) fn passing(reason: impl Into<String>) -> Self {
        Self::new(WireKind::Passing(None), reason)
    }

    /// The fault as an error of `object_store`.
    pub(crate) fn into_error(self) -> object_store::Error {
        object_store::Error::Generic {
            store: "store",
            source: Box::new(self),
        }
    }

    /// The fault inside an error, if there is one.
    pub(crate) fn find(error: &object_store::Error) -> Option<&Self> {
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = next {
            if let Some(fault) = error.downcast_ref::<Self>() {
                return Some(fault);
            }
            next = error.source();
        }
        None
    }
}

/// The parts of a store's answer that matter here. Both S3 and Azure name a code, in the body or in a header.
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a str,
}

impl Answer<'_> {
    fn code(&self) -> &str {
        between(self.body, "<Code>", "</Code>")
            .or_else(|| self.headers.get("x-ms-error-code")?.to_str().ok())
            .unwrap_or_default()
            .trim()
    }

    /// The store's own text, for a message.
    fn words(&self) -> String {
        let (code, message) = (self.code(), between(self.body, "<Message>", "</Message>"));
        let message = message.unwrap_or_default().trim();
        // Azure adds the request's id and time on further lines.
        let message = message.lines().next().unwrap_or_default();
        let said = match (code, message) {
            ("", "") => self.body.lines().next().unwrap_or_default(),
            ("", message) => message,
            (code, "") => code,
            (code, message) => return cut(&format!("{code}: {message} (HTTP {})", self.status.as_u16())),
        };
        cut(format!("{said} (HTTP {})", self.status.as_u16()).trim())
    }

    /// The fault that the answer means. `None` for ordinary answers that `object_store` understands by their status:
    /// not found, already there, not changed, out of range.
    pub(super) fn fault(&self) -> Option<WireFault> {
        let kind = self.kind_by_code().or_else(|| self.kind_by_status())?;
        let mut reason = self.words();
        if let WireKind::Refused(Refusal::Region) = kind
            && let Some(region) = self.headers.get("x-amz-bucket-region").and_then(|v| v.to_str().ok())
        {
            reason = format!("it is in {region}; {reason}");
        }
        if let WireKind::Refused(Refusal::Redirected) = kind
            && let Some(to) = self.headers.get(LOCATION).and_then(|v| v.to_str().ok())
        {
            let to = to.split('?').next().unwrap_or_default();
            reason = cut(&format!("to {to} ({reason})"));
        }
        Some(WireFault { kind, reason })
    }

    /// The fault of an answer that has the status of a success and is not what was asked for.
    pub(super) fn fault_of_success(&self) -> WireFault {
        let kind = self.kind_by_code().unwrap_or(WireKind::Passing(None));
        let said = match self.code() {
            "" => String::new(),
            _ => format!(": {}", self.words()),
        };
        WireFault::new(kind, format!("the answer is not the listing that was asked for{said}"))
    }

    fn kind_by_code(&self) -> Option<WireKind> {
        let refused = |refusal| Some(WireKind::Refused(refusal));
        match self.code() {
            "NoSuchBucket" | "ContainerNotFound" | "InvalidBucketName" | "ContainerDisabled" => {
                refused(Refusal::NoBucket)
            }
            "RequestTimeTooSkewed" => refused(Refusal::Clock),
            "ExpiredToken" | "TokenRefreshRequired" | "RequestExpired" => refused(Refusal::Expired),
            "AuthenticationFailed" if self.is_past_expiry() => refused(Refusal::Expired),
            "InvalidObjectState" | "BlobArchived" => refused(Refusal::Archived),
            "AuthenticationFailed" if self.is_about_time() => refused(Refusal::Clock),
            // Azurite uses this code for a wrong key; Azure uses it for its network rules.
            "AuthorizationFailure" if self.body.contains("authenticate") => refused(Refusal::Keys),
            "AuthorizationHeaderMalformed" if self.body.contains("region") => refused(Refusal::Region),
            "PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException" => {
                refused(Refusal::Region)
            }
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "AuthenticationFailed"
            | "InvalidAuthenticationInfo"
            | "NoAuthenticationInformation"
            | "AuthorizationHeaderMalformed"
            | "MissingSecurityHeader" => refused(Refusal::Keys),
            "QuotaExceeded"
            | "InsufficientCapacity"
            | "QuotaExceededException"
            | "XMinioStorageFull"
            | "XMinioAdminBucketQuotaExceeded"
            | "StorageLimitExceeded" => Some(WireKind::Full),
            _ if self.status == StatusCode::FORBIDDEN && self.body.contains("storage cap") => Some(WireKind::Full),
            // The body was damaged on the way, or the request took too long.
            "BadDigest"
            | "IncompleteBody"
            | "XAmzContentSHA256Mismatch"
            | "XAmzContentChecksumMismatch"
            | "Md5Mismatch"
            | "RequestTimeout"
            | "SlowDown"
            | "ServerBusy"
            | "OperationTimedOut"
            | "InternalError" => Some(WireKind::Passing(self.retry_after())),
            code if code.contains("Immutable") => refused(Refusal::NotAllowed),
            _ => None,
        }
    }

    fn kind_by_status(&self) -> Option<WireKind> {
        Some(match self.status {
            StatusCode::NOT_MODIFIED
            | StatusCode::NOT_FOUND
            | StatusCode::CONFLICT
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::RANGE_NOT_SATISFIABLE => return None,
            StatusCode::UNAUTHORIZED => WireKind::Refused(Refusal::Keys),
            StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => WireKind::Refused(Refusal::NotAllowed),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => WireKind::Refused(Refusal::Proxy),
            StatusCode::INSUFFICIENT_STORAGE => WireKind::Full,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => WireKind::Passing(self.retry_after()),
            StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => {
                WireKind::Refused(Refusal::Unsupported)
            }
            StatusCode::PAYLOAD_TOO_LARGE => WireKind::Refused(Refusal::TooLong),
            status if status.is_redirection() && self.headers.contains_key("x-amz-bucket-region") => {
                WireKind::Refused(Refusal::Region)
            }
            status if status.is_redirection() => WireKind::Refused(Refusal::Redirected),
            status if status.is_server_error() => WireKind::Passing(self.retry_after()),
            _ => WireKind::Other,
        })
    }

    /// Azure has one code for everything that is wrong with a signature. Only its text tells a wrong clock apart.
    fn is_about_time(&self) -> bool {
        let detail = between(self.body, "<AuthenticationErrorDetail>", "</AuthenticationErrorDetail>");
        detail.is_some_and(|detail| {
            let detail = detail.to_ascii_lowercase();
            detail.contains("date header") || detail.contains("time frame") || detail.contains("too old")
        })
    }

    /// Azure says this of a SAS token: its time is over, or has not begun.
    fn is_past_expiry(&self) -> bool {
        let detail = between(self.body, "<AuthenticationErrorDetail>", "</AuthenticationErrorDetail>");
        detail.is_some_and(|detail| detail.to_ascii_lowercase().contains("expiry ["))
    }

    /// The header in seconds. Its other form, a date, is ignored: this machine's clock may be wrong.
    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
    }
}

fn between<'t>(text: &'t str, before: &str, behind: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(behind)?.0)
}

fn cut(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_REASON_CHARS)
        .collect()
}

/// The fault of a request to `host` that got no answer.
pub(super) fn no_answer(host: &str, error: &reqwest::Error) -> WireFault {
    let chain = chain_of(error);
    let innermost = chain.last().map(String::as_str).unwrap_or_default();
    let any = |words: &[&str]| chain.iter().any(|said| words.iter().any(|word| said.contains(word)));
    let tunnel = any(&["tunnel error", "proxy"]);
    // The words of rustls. Its error type is wrapped so deep that it cannot be found by type.
    let tls = any(&[
        "certificate",
        "received fatal alert",
        "received corrupt message",
        "HandshakeFailure",
        "TLS",
    ]);
    if error.is_builder() {
        return WireFault::new(WireKind::Other, format!("{host}: {innermost}"));
    }
    if tunnel && any(&["authorization required", "auth"]) {
        let reason = format!("{host}: {}", chain.join(": "));
        return WireFault::new(WireKind::Refused(Refusal::Proxy), cut(&reason));
    }
    if error.is_connect() && tls {
        return WireFault::new(WireKind::Refused(Refusal::Tls), cut(&format!("{host}: {innermost}")));
    }
    if chain_has(error, is_out_of_handles) {
        let reason = format!("{host}: {innermost}; {}", limit_words());
        return WireFault::new(WireKind::Shortage(Some(Duration::ZERO)), cut(&reason));
    }
    if chain_has(error, is_shortage) {
        return WireFault::new(WireKind::Shortage(None), cut(&format!("{host}: {innermost}")));
    }
    let proxied = match proxies() {
        set if set.is_empty() => String::new(),
        set => format!(" (this machine sets a proxy: {set})"),
    };
    let said = if error.is_timeout() && error.is_connect() {
        "no connection within the time".to_owned()
    } else if tunnel {
        chain.join(": ")
    } else {
        innermost.to_owned()
    };
    WireFault::passing(cut(&format!("{host}: {said}{proxied}")))
}

/// The fault of an answer that broke off.
pub(super) fn cut_off(host: &str, error: &reqwest::Error) -> WireFault {
    let chain = chain_of(error);
    let innermost = chain.last().map(String::as_str).unwrap_or_default();
    WireFault::passing(cut(&format!("{host}: the answer broke off: {innermost}")))
}

/// The texts of the errors below an error. reqwest's own first text only repeats the URL.
fn chain_of(error: &reqwest::Error) -> Vec<String> {
    let mut all = Vec::new();
    let mut next = error.source();
    while let Some(error) = next {
        all.push(error.to_string());
        next = error.source();
    }
    if all.is_empty() {
        all.push(error.to_string());
    }
    all
}

/// Whether an error of the operating system below this one is such an error.
fn chain_has(error: &reqwest::Error, is_such: fn(&io::Error) -> bool) -> bool {
    let mut next = error.source();
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(is_such) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The names of the variables by which this machine sends requests to a proxy.
fn proxies() -> String {
    let names = [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ];
    let set = names
        .into_iter()
        .filter(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    set.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
