//! An alert as a mail: to a mail server that takes it without a password, such as the one of this machine, or to one by
//! TLS, with a password from a file.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport};
use zeroize::Zeroizing;

use super::{Alert, DELIVER_WITHIN};
use crate::policy::Mail;

/// A password is shorter.
const PASSWORD_MAX: u64 = 4096;

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    None,
    /// TLS after a greeting.
    StartTls,
    /// TLS from the beginning.
    Tls,
}

/// Sends the mail that the policy asks for.
pub(super) async fn send(mail: Option<&Mail>, alert: &Alert) -> Result<(), String> {
    let Some(mail) = mail.cloned() else { return Ok(()) };
    let message = message(&mail, alert)?;
    let sent = tokio::task::spawn_blocking(move || {
        let (security, host, port) = server(&mail.smtp)?;
        let mut transport = SmtpTransport::builder_dangerous(&host)
            .port(port)
            .timeout(Some(DELIVER_WITHIN));
        if security != Security::None {
            let parameters = TlsParameters::new(host.clone()).map_err(|error| format!("{host}: {error}"))?;
            transport = transport.tls(match security {
                Security::StartTls => Tls::Required(parameters),
                Security::Tls | Security::None => Tls::Wrapper(parameters),
            });
        }
        if let (Some(user), Some(file)) = (mail.user, mail.password_file) {
            let password = password(&file).map_err(|why| format!("{}: {why}", file.display()))?;
            transport = transport.credentials(Credentials::new(user, password.to_string()));
        }
        let sent = transport.build().send(&message);
        sent.map(drop).map_err(|error| format!("{host}: {error}"))
    });
    sent.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// The password in a file that only its owner, who is root or this user, may read.
fn password(file: &Path) -> Result<Zeroizing<String>, String> {
    let why = |error: std::io::Error| error.to_string();
    // A pipe that nobody writes to would never answer.
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(file)
        .map_err(why)?;
    let known = opened.metadata().map_err(why)?;
    if !known.is_file() {
        return Err("it is no file".to_owned());
    }
    if known.mode() & 0o077 != 0 {
        return Err("others than its owner may use it; `chmod 600` changes that".to_owned());
    }
    if ![0, rustix::process::geteuid().as_raw()].contains(&known.uid()) {
        return Err("it belongs to another user".to_owned());
    }
    let mut text = Zeroizing::new(String::new());
    opened.take(PASSWORD_MAX).read_to_string(&mut text).map_err(why)?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err("it is empty".to_owned());
    }
    Ok(Zeroizing::new(line.to_owned()))
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

/// The parts of `smtp://host:port`.
fn server(url: &str) -> Result<(Security, String, u16), String> {
    let parsed = reqwest::Url::parse(url).map_err(|error| format!("{url}: {error}"))?;
    let (security, usual) = match parsed.scheme() {
        "smtp" => (Security::None, 25),
        "smtp+starttls" => (Security::StartTls, 587),
        "smtps" => (Security::Tls, 465),
        _ => return Err(format!("{url}: a mail server is written smtps://HOST:PORT")),
    };
    let host = parsed.host_str().ok_or_else(|| format!("{url}: it names no host"))?;
    let host = host.trim_matches(['[', ']']).to_owned();
    Ok((security, host, parsed.port().unwrap_or(usual)))
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
            user: None,
            password_file: None,
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
    fn a_mail_server_is_a_way_a_host_and_a_port() {
        let of = |url: &str| server(url).map(|(security, host, port)| (security, format!("{host} {port}")));
        assert_eq!(
            of("smtp://127.0.0.1:2525").unwrap(),
            (Security::None, "127.0.0.1 2525".to_owned())
        );
        assert_eq!(of("smtp://mail").unwrap(), (Security::None, "mail 25".to_owned()));
        assert_eq!(of("smtp://[::1]:26").unwrap(), (Security::None, "::1 26".to_owned()));
        assert_eq!(of("smtps://mail").unwrap(), (Security::Tls, "mail 465".to_owned()));
        assert_eq!(
            of("smtp+starttls://mail").unwrap(),
            (Security::StartTls, "mail 587".to_owned())
        );
        for wrong in ["https://mail", "mail", "smtps:mail", "smtps://"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_read_from_a_file_that_others_cannot_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let with = |text: &[u8], mode: u32| {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            password(&file).map(|password| password.to_string())
        };
        assert_eq!(with(b"pass word\n", 0o600).unwrap(), "pass word");
        assert_eq!(with(b"secret", 0o400).unwrap(), "secret");
        assert!(with(b"secret", 0o640).unwrap_err().contains("chmod 600"));
        assert!(with(b"", 0o600).is_err() && with(b"\nsecret", 0o600).is_err() && with(b"\xff\n", 0o600).is_err());
        assert!(password(folder.path()).is_err() && password(&folder.path().join("none")).is_err());
    }
}
