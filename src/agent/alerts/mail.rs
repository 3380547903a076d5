//! An alert as a mail, given to a mail server that takes it without a password, such as the one of this machine.

use lettre::message::Mailbox;
use lettre::{Message, SmtpTransport, Transport};

use super::{Alert, DELIVER_WITHIN};
use crate::policy::Mail;

/// The port of mail servers.
const SMTP_PORT: u16 = 25;

/// Sends the mail that the policy asks for.
pub(super) async fn send(mail: Option<&Mail>, alert: &Alert) -> Result<(), String> {
    let Some(mail) = mail.cloned() else { return Ok(()) };
    let message = message(&mail, alert)?;
    let (host, port) = server(&mail.smtp)?;
    let sent = tokio::task::spawn_blocking(move || {
        let transport = SmtpTransport::builder_dangerous(&host)
            .port(port)
            .timeout(Some(DELIVER_WITHIN))
            .build();
        let sent = transport.send(&message);
        sent.map(drop).map_err(|error| format!("{host}: {error}"))
    });
    sent.await.unwrap_or_else(|error| Err(error.to_string()))
}

fn message(mail: &Mail, alert: &Alert) -> Result<Message, String> {
    let address = |text: &str| text.parse::<Mailbox>().map_err(|error| format!("{text}: {error}"));
    let Alert {
        kind, server, message, ..
    } = alert;
    let first = message.lines().next().unwrap_or_default();
    let body = format!(
        "{message}\n\nServer  {server}\nKind    {kind}\nTime    {}\n",
        alert.time
    );
    Message::builder()
        .from(address(&mail.from)?)
        .to(address(&mail.to)?)
        .subject(format!("[lockstone] {server}: {first}"))
        .body(body)
        .map_err(|error| error.to_string())
}

/// Host and port of `smtp://host:port`.
fn server(url: &str) -> Result<(String, u16), String> {
    let parsed = reqwest::Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
    match (parsed.scheme(), parsed.host_str()) {
        ("smtp", Some(host)) => Ok((
            host.trim_matches(['[', ']']).to_owned(),
            parsed.port().unwrap_or(SMTP_PORT),
        )),
        _ => Err(format!("{url}: a mail server is written smtp://HOST:PORT")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use jiff::Timestamp;

    use super::super::Severity;
    use super::*;

    #[test]
    fn a_mail_names_server_and_message() {
        let mail = Mail {
            to: "ops@example.org".to_owned(),
            from: "lockstone@web1.example.org".to_owned(),
            smtp: "smtp://127.0.0.1:25".to_owned(),
        };
        let alert = Alert {
            time: Timestamp::UNIX_EPOCH,
            kind: "failure".to_owned(),
            severity: Severity::Critical,
            message: "the backup failed: the store is away\nmore".to_owned(),
            job: None,
            server: "web1".to_owned(),
            undelivered: Vec::new(),
            ended: None,
        };
        let text = String::from_utf8(message(&mail, &alert).unwrap().formatted()).unwrap();
        assert!(text.contains("To: ops@example.org"), "{text}");
        assert!(
            text.contains("Subject: [lockstone] web1: the backup failed: the store is away"),
            "{text}"
        );
        let bad = Mail {
            to: "nobody".to_owned(),
            ..mail
        };
        assert!(message(&bad, &alert).is_err());
    }

    #[test]
    fn a_mail_server_is_a_host_and_a_port() {
        assert_eq!(server("smtp://127.0.0.1:2525").unwrap(), ("127.0.0.1".to_owned(), 2525));
        assert_eq!(server("smtp://mail").unwrap(), ("mail".to_owned(), 25));
        assert_eq!(server("smtp://[::1]:26").unwrap(), ("::1".to_owned(), 26));
        assert!(server("https://mail").is_err() && server("mail").is_err());
    }
}
