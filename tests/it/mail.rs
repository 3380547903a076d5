//! Alerts by mail to a server that wants TLS and a password.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::lab::{Lab, Ran, finish};
use crate::support::tree::file;

const SECRET: &str = "the mail server's password";

/// A mail server that ends after one mail.
struct Server {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
    port: String,
}

impl Server {
    fn start(lab: &Lab, way: &str) -> Server {
        let mut process = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/mail_by_tls.py"))
            .arg(lab.path("server.pem"))
            .arg(way)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut port = String::new();
        output.read_line(&mut port).unwrap();
        let port = port.trim().to_owned();
        Server { process, output, port }
    }

    /// What it heard.
    fn heard(mut self) -> Value {
        let mut heard = String::new();
        self.output.read_line(&mut heard).unwrap();
        self.process.wait().unwrap();
        serde_json::from_str(&heard).unwrap()
    }
}

/// Makes a certificate for `localhost`. False if this machine cannot.
fn certificate(lab: &Lab) -> bool {
    if Command::new("python3").args(["-c", "import ssl"]).status().is_err() {
        return false;
    }
    let mut openssl = Command::new("openssl");
    openssl
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args([
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-addext",
            "extendedKeyUsage=serverAuth",
        ])
        .arg("-keyout")
        .arg(lab.path("server.pem"))
        .arg("-out")
        .arg(lab.path("ca.pem"));
    if !openssl.output().is_ok_and(|made| made.status.success()) {
        return false;
    }
    let both = [
        fs::read(lab.path("server.pem")).unwrap(),
        fs::read(lab.path("ca.pem")).unwrap(),
    ]
    .concat();
    fs::write(lab.path("server.pem"), both).unwrap();
    true
}

fn set(lab: &Lab, smtp: &str) {
    let password = lab.path("mail-password");
    let mail = format!(
        "{{ to = \"ops@example.org\", from = \"a@example.org\", smtp = \"{smtp}\", user = \"web1\", password_file = \"{}\" }}",
        password.display()
    );
    let policy = format!(
        "[[item]]\npath = \"{}\"\n[retention]\ndaily = {{ days = 7 }}\n[notify]\nmail = {mail}\non = [\"success\"]\n",
        lab.source().display()
    );
    let path = lab.path("policy.toml");
    file(&path, policy.as_bytes());
    lab.run(["policy", "set", "--file", path.to_str().unwrap()]).exits(0);
}

fn backup(lab: &Lab, trusts: bool) -> Ran {
    let mut command = lab.command("home");
    if trusts {
        command.env("SSL_CERT_FILE", lab.path("ca.pem"));
    }
    command.arg("backup");
    finish(command)
}

#[test]
fn an_alert_is_mailed_by_tls_with_a_password_from_a_file() {
    let lab = Lab::new();
    if !certificate(&lab) {
        eprintln!("SKIPPED: no openssl or no python3");
        return;
    }
    let password = lab.path("mail-password");
    file(&password, format!("{SECRET}\n").as_bytes());
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    for way in ["smtps", "smtp+starttls"] {
        let server = Server::start(&lab, way);
        set(&lab, &format!("{way}://localhost:{}", server.port));
        let ran = backup(&lab, true).exits(0);
        let heard = server.heard();
        assert_eq!(
            (&heard["tls"], &heard["login"]),
            (&json!(true), &json!(["web1", SECRET])),
            "{heard}"
        );
        assert!(
            heard["mail"]
                .as_str()
                .unwrap()
                .contains("Subject: [lockstone] server: the backup"),
            "{heard}"
        );
        assert!(!ran.stderr.contains(SECRET) && !ran.stdout.contains(SECRET));
    }
    // A server that nobody vouches for gets neither the password nor the mail.
    let server = Server::start(&lab, "smtps");
    set(&lab, &format!("smtps://localhost:{}", server.port));
    backup(&lab, false).says("an alert was not delivered: localhost");
    let heard = server.heard();
    assert!(heard["login"].is_null() && heard["mail"] == "", "{heard}");
    // A password that others can read is not sent.
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
    backup(&lab, true).says("others than its owner may use it");
}

#[test]
fn a_policy_with_a_password_and_without_tls_is_refused() {
    let lab = Lab::new();
    let policy = |mail: &str| {
        let text = format!(
            "system_state = true\n[retention]\ndaily = {{ days = 7 }}\n[notify]\n\
             mail = {{ to = \"a@b\", from = \"a@b\", {mail} }}\n"
        );
        let path = lab.path("policy.toml");
        file(&path, text.as_bytes());
        lab.run(["policy", "set", "--file", path.to_str().unwrap()])
    };
    for (mail, why) in [
        (
            "smtp = \"smtp://h\", user = \"u\", password_file = \"/p\"",
            "only sent by TLS",
        ),
        ("smtp = \"smtps://h\", user = \"u\"", "go together"),
        ("smtp = \"smtps://h\", password_file = \"/p\"", "go together"),
        (
            "smtp = \"smtps://h\", user = \"u\", password_file = \"p\"",
            "a whole path",
        ),
        ("smtp = \"http://h\"", "smtp is an address"),
    ] {
        policy(mail).exits(2).says(why);
    }
    policy("smtp = \"smtps://h\", user = \"u\", password_file = \"/p\"").exits(0);
}
