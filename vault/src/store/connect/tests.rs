//! Tests of the HTTP client, against a server on loopback that answers as told.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Mutex;

use object_store::client::HttpRequestBody;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A pace that holds the first request for a while.
#[derive(Debug)]
struct Held(Mutex<u32>, Duration);

#[async_trait]
impl LinePace for Held {
    fn piece(&self, _direction: Direction) -> Option<usize> {
        None
    }

    async fn bytes(&self, _direction: Direction, _bytes: usize) {}

    async fn request(&self) {
        *self.0.lock().unwrap() += 1;
        tokio::time::sleep(self.1).await;
    }
}

/// A server that gives every request this answer.
async fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut asked = [0; 4096];
            let _ = socket.read(&mut asked).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{host}")
}

fn get(host: &str, path: &str) -> HttpRequest {
    let body = HttpRequestBody::from(Bytes::new());
    http::Request::get(format!("{host}{path}")).body(body).unwrap()
}

#[tokio::test]
async fn a_request_that_was_held_is_signed_again_and_not_held_again() {
    let host = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
    let pace = Arc::new(Held(Mutex::default(), Duration::from_millis(50)));
    let mut connector = Connector::new("s3://b", pace.clone(), Arc::default(), None, false).unwrap();
    connector.stale_after = Duration::from_millis(20);
    let fault = connector
        .ask(get(&host, "/b/x"), "host".into())
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(fault.kind, WireKind::Outwaited);
    let answer = connector.ask(get(&host, "/b/x"), "host".into()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(*pace.0.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_web_page_is_no_answer_of_a_store() {
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>";
    let host = server(page).await;
    let pace = Arc::new(super::super::pace::Unpaced);
    let connector = Connector::new("s3://b", pace, Arc::default(), None, false).unwrap();
    let fault = connector
        .ask(get(&host, "/b?list-type=2&prefix=log"), "host".into())
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(fault.kind, WireKind::Passing(None));
    let answer = connector
        .ask(get(&host, "/b/lockstone.json"), "host".into())
        .await
        .unwrap();
    let error = answer.into_body().bytes().await.unwrap_err().to_string();
    assert!(error.contains("web page"), "{error}");
}

#[tokio::test]
async fn an_answer_that_goes_on_after_its_announced_length_is_cut() {
    let host = server(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         8\r\n12345678\r\n0\r\n\r\n",
    )
    .await;
    let pace = Arc::new(super::super::pace::Unpaced);
    let connector = Connector::new("s3://b", pace, Arc::default(), None, false).unwrap();
    let mut asked = get(&host, "/b/x");
    asked
        .headers_mut()
        .insert(http::header::RANGE, "bytes=0-1".parse().unwrap());
    let answer = connector.ask(asked, "host".into()).await.unwrap();
    assert!(answer.into_body().bytes().await.is_err());
}

#[tokio::test]
async fn every_answer_says_the_time_of_the_store() {
    let host = server(
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    )
    .await;
    let (pace, clock) = (Arc::new(super::super::pace::Unpaced), Arc::default());
    let connector = Connector::new("s3://b", pace, Arc::clone(&clock), None, false).unwrap();
    assert_eq!(clock.offset(), None);
    connector.ask(get(&host, "/b/x"), "host".into()).await.unwrap();
    assert!(clock.offset().is_some_and(|offset| offset.is_negative()));
}

/// A store with an expired token says so with 400 and a body, and HEAD has no body.
#[tokio::test]
async fn what_an_answer_to_head_cannot_say_is_asked_for() {
    use object_store::ObjectStoreExt;
    use object_store::aws::AmazonS3Builder;

    use crate::kind::Kind;
    use crate::store::{Retry, RetryRule, StoreError};

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut asked = [0; 4096];
            let len = socket.read(&mut asked).await.unwrap_or_default();
            let body = match asked[..len].starts_with(b"HEAD") {
                true => "",
                false => "<Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>",
            };
            let len = body.len();
            let answer =
                format!("HTTP/1.1 400 Bad Request\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}");
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    let pace = Arc::new(super::super::pace::Unpaced);
    let connector = Connector::new("s3://b", pace, Arc::default(), None, false).unwrap();
    let s3 = AmazonS3Builder::new()
        .with_endpoint(format!("http://{host}"))
        .with_allow_http(true)
        .with_bucket_name("b")
        .with_region("r")
        .with_access_key_id("key")
        .with_secret_access_key("secret")
        .with_http_connector(connector)
        .build()
        .unwrap();
    let store = Retry::new(Arc::new(s3), RetryRule::default(), None);
    for name in ["packs/a", "lockstone.json"] {
        let error = store.head(&name.into()).await.unwrap_err();
        let error = StoreError::sort(name, &error);
        let expired = Refusal::Expired;
        assert!(
            matches!(&error, StoreError::Refused { what, .. } if *what == expired),
            "{error:?}"
        );
        assert_eq!(error.kind(), Kind::Refused);
    }
}
