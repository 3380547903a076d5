//! Tests of what the answers of stores mean.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn kind(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Option<WireKind> {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )
        })
        .collect();
    let status = StatusCode::from_u16(status).unwrap();
    let answer = Answer {
        status,
        headers: &headers,
        body,
    };
    answer.fault().map(|fault| fault.kind)
}

fn refused(refusal: Refusal) -> Option<WireKind> {
    Some(WireKind::Refused(refusal))
}

fn code(code: &str) -> String {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>words</Message></Error>")
}

#[test]
fn a_busy_store_is_asked_again_when_it_says() {
    let seconds = |n| Some(WireKind::Passing(Some(Duration::from_secs(n))));
    assert_eq!(kind(503, &[("retry-after", "7")], &code("SlowDown")), seconds(7));
    assert_eq!(kind(429, &[("retry-after", "99999")], ""), seconds(300));
    assert_eq!(
        kind(500, &[("retry-after", "Fri, 31 Dec")], ""),
        Some(WireKind::Passing(None))
    );
    assert_eq!(kind(400, &[], &code("RequestTimeout")), Some(WireKind::Passing(None)));
    assert_eq!(kind(501, &[], &code("NotImplemented")), refused(Refusal::Unsupported));
}

#[test]
fn what_object_store_understands_is_left_to_it() {
    for status in [304, 404, 409, 412, 416] {
        assert_eq!(kind(status, &[], &code("Whatever")), None, "{status}");
    }
    assert_eq!(
        kind(404, &[], &code("NoSuchBucket")),
        Some(WireKind::Refused(Refusal::NoBucket))
    );
    let container = [("x-ms-error-code", "ContainerNotFound")];
    assert_eq!(kind(404, &container, ""), Some(WireKind::Refused(Refusal::NoBucket)));
}

#[test]
fn refusals_are_told_apart() {
    assert_eq!(kind(403, &[], &code("RequestTimeTooSkewed")), refused(Refusal::Clock));
    assert_eq!(kind(403, &[], &code("SignatureDoesNotMatch")), refused(Refusal::Keys));
    assert_eq!(kind(403, &[], &code("AccessDenied")), refused(Refusal::NotAllowed));
    assert_eq!(kind(403, &[], ""), refused(Refusal::NotAllowed));
    assert_eq!(
        kind(301, &[("x-amz-bucket-region", "eu-west-1")], ""),
        refused(Refusal::Region)
    );
    let old = "<Error><Code>AuthenticationFailed</Code><AuthenticationErrorDetail>Request date header too old: 'x'\
               </AuthenticationErrorDetail></Error>";
    assert_eq!(kind(403, &[], old), refused(Refusal::Clock));
    assert_eq!(kind(403, &[], &code("AuthenticationFailed")), refused(Refusal::Keys));
    assert_eq!(
        kind(409, &[], &code("BlobImmutableDueToPolicy")),
        refused(Refusal::NotAllowed)
    );
}

#[test]
fn what_a_store_refuses_for_a_while_is_told_apart() {
    assert_eq!(kind(400, &[], &code("ExpiredToken")), refused(Refusal::Expired));
    assert_eq!(kind(403, &[], &code("InvalidObjectState")), refused(Refusal::Archived));
    assert_eq!(kind(409, &[], &code("BlobArchived")), refused(Refusal::Archived));
    assert_eq!(kind(413, &[], "<html>"), refused(Refusal::TooLong));
    let over = "<Error><Code>AuthenticationFailed</Code><AuthenticationErrorDetail>Signature not valid in the \
                specified time frame: Start [a] - Expiry [b] - Current [c]</AuthenticationErrorDetail></Error>";
    assert_eq!(kind(403, &[], over), refused(Refusal::Expired));
    let full = "<Error><Code>AccessDenied</Code><Message>storage cap exceeded</Message></Error>";
    assert_eq!(kind(403, &[], full), Some(WireKind::Full));
}

#[test]
fn a_redirect_says_where_to() {
    let mut headers = HeaderMap::new();
    headers.insert(
        LOCATION,
        "https://store.example/b?X-Amz-Signature=secret".parse().unwrap(),
    );
    let (status, body) = (StatusCode::MOVED_PERMANENTLY, "");
    let answer = Answer {
        status,
        headers: &headers,
        body,
    };
    let fault = answer.fault().unwrap();
    assert_eq!(fault.kind, WireKind::Refused(Refusal::Redirected));
    assert!(fault.reason.contains("https://store.example/b") && !fault.reason.contains("secret"));
}

#[test]
fn the_words_of_a_store_are_kept_short() {
    let long = "x".repeat(5000);
    let headers = HeaderMap::new();
    let answer = Answer {
        status: StatusCode::BAD_REQUEST,
        headers: &headers,
        body: &long,
    };
    assert!(answer.fault().unwrap().reason.len() <= MAX_REASON_CHARS);
}
