//! How an alert leaves this machine: a program gets it on its standard input, a web server is posted it, a mail server
//! takes it. Each way is tried by itself, and one that fails does not keep the others.

use std::io::Write as _;
use std::process::Stdio;

use super::{Alert, DELIVER_WITHIN, mail};
use crate::agent::programs::{self, NotEnded, Running};
use crate::policy::Notify;

/// Sends an alert every way that the policy names. Returns what went wrong.
pub(super) async fn deliver(notify: &Notify, alert: &Alert) -> Vec<String> {
    let text = match serde_json::to_string(alert) {
        Ok(text) => text,
        Err(error) => return vec![error.to_string()],
    };
    let (program, webhook, mail) = tokio::join!(
        to_program(notify, &text),
        to_webhook(notify, &text),
        mail::send(notify.mail.as_ref(), alert)
    );
    [program, webhook, mail].into_iter().filter_map(Result::err).collect()
}

async fn to_program(notify: &Notify, text: &str) -> Result<(), String> {
    let Some(mut command) = programs::command(&notify.command) else {
        return Ok(());
    };
    let name = notify.command.first().cloned().unwrap_or_default();
    command.stdin(Stdio::piped()).stdout(Stdio::from(std::io::stderr()));
    let text = format!("{text}\n");
    let ran = tokio::task::spawn_blocking(move || {
        let mut running = Running::start(&mut command).map_err(|error| error.to_string())?;
        if let Some(mut input) = running.child.stdin.take() {
            // A program that does not read its input is its own affair. An alert fits into the pipe.
            let _ = input.write_all(text.as_bytes());
        }
        match running.wait(DELIVER_WITHIN, None) {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(status.to_string()),
            Err(NotEnded::TimedOut) => Err("it took too long".to_owned()),
            Err(NotEnded::Cancelled) => Err("it was cancelled".to_owned()),
            Err(NotEnded::Failed(error)) => Err(error.to_string()),
        }
    });
    let ended = ran.await.unwrap_or_else(|error| Err(error.to_string()));
    ended.map_err(|why| format!("{name}: {why}"))
}

async fn to_webhook(notify: &Notify, text: &str) -> Result<(), String> {
    let Some(url) = &notify.webhook else { return Ok(()) };
    let client = reqwest::Client::builder().timeout(DELIVER_WITHIN).build();
    let client = client.map_err(|error| error.to_string())?;
    let sent = client
        .post(url)
        .header("content-type", "application/json")
        .body(text.to_owned())
        .send()
        .await;
    // An address may hold a secret. It is in the policy, and has no place in a log.
    let host = reqwest::Url::parse(url).ok();
    let host = host.as_ref().and_then(reqwest::Url::host_str).unwrap_or("the webhook");
    match sent.and_then(reqwest::Response::error_for_status) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{host}: {}", error.without_url())),
    }
}
