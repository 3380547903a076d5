//! Somebody hears of what went wrong: by a program, by a web server, by mail.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::support::lab::Lab;
use crate::support::tree::{self, file};

/// Puts a policy in force that backs up the lab's source.
fn set(lab: &Lab, more: &str) {
    let text = format!(
        "[[item]]\npath = \"{}\"\n[retention]\ndaily = {{ days = 7 }}\n{more}",
        lab.source().display()
    );
    let path = lab.path("policy.toml");
    file(&path, text.as_bytes());
    lab.run(["policy".as_ref(), "set".as_ref(), "--file".as_ref(), path.as_os_str()])
        .exits(0);
}

fn alerts(lab: &Lab) -> Vec<Value> {
    let list = lab.run(["alerts", "list", "--json"]).exits(0).json();
    list["alerts"].as_array().unwrap().clone()
}

/// A program that keeps what it is told in a file.
fn teller(lab: &Lab) -> String {
    let heard = lab.path("heard");
    format!(
        "command = [\"/bin/sh\", \"-c\", \"cat >> {0}; env > {0}.env\"]\n",
        heard.display()
    )
}

#[test]
fn a_failure_is_told_to_a_program_that_gets_no_secret() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    set(&lab, &format!("[notify]\n{}on = [\"missed\"]\n", teller(&lab)));
    lab.run(["backup"]).exits(0);
    assert_eq!(alerts(&lab), Vec::<Value>::new());
    assert!(!lab.path("heard").exists());
    // The vault is gone.
    fs::rename(lab.vault(), lab.path("away")).unwrap();
    let failed = lab.run(["backup", "--json"]);
    assert_ne!(failed.code, Some(0));
    fs::rename(lab.path("away"), lab.vault()).unwrap();
    let found = alerts(&lab);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (&found[0]["kind"], &found[0]["severity"]),
        (&json!("failure"), &json!("critical"))
    );
    assert!(
        found[0]["message"].as_str().unwrap().contains("a backup of the policy"),
        "{}",
        found[0]
    );
    let heard: Value = serde_json::from_slice(&fs::read(lab.path("heard")).unwrap()).unwrap();
    assert_eq!(heard, found[0]);
    let environment = fs::read_to_string(lab.path("heard.env")).unwrap();
    assert!(!environment.contains("LOCKSTONE_PASSPHRASE"), "{environment}");
    assert!(
        lab.run(["alerts", "list"])
            .exits(0)
            .stdout
            .contains("a backup of the policy")
    );
}

#[test]
fn an_alert_that_cannot_be_delivered_is_kept_and_says_so() {
    let lab = Lab::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = taken.local_addr().unwrap();
    drop(taken);
    let mail = format!("{{ to = \"ops@example.org\", from = \"a@example.org\", smtp = \"smtp://{nobody}\" }}");
    set(
        &lab,
        &format!(
            "[notify]\ncommand = [\"/bin/false\"]\nwebhook = \"http://{nobody}/secret\"\nmail = {mail}\non = [\"success\"]\n"
        ),
    );
    let ran = lab.run(["backup"]);
    assert!(matches!(ran.code, Some(0 | 3)), "{:?}", ran.code);
    let ran = ran.says("an alert was not delivered: /bin/false");
    assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    let found = alerts(&lab);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["undelivered"].as_array().unwrap().len(), 3, "{}", found[0]);
}

/// A web server that takes one request and answers with nothing. Returns its address, and the request's body.
fn web() -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let taken = std::thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            if let Some(number) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = number.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        stream
            .get_mut()
            .write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
            .unwrap();
        String::from_utf8(body).unwrap()
    });
    (address, taken)
}

/// A mail server that takes one mail. Returns its address, and the mail.
fn mail() -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let taken = std::thread::spawn(move || {
        let stream: TcpStream = listener.accept().unwrap().0;
        let mut out = stream.try_clone().unwrap();
        out.write_all(b"220 test\r\n").unwrap();
        let (mut mail, mut in_data) = (String::new(), false);
        for line in BufReader::new(stream).lines() {
            let line = line.unwrap();
            if in_data && line != "." {
                mail.push_str(&line);
                mail.push('\n');
                continue;
            }
            let answer: &[u8] = match line.split([' ', ':']).next().unwrap() {
                "DATA" => {
                    in_data = true;
                    b"354 go on\r\n"
                }
                "." => {
                    in_data = false;
                    b"250 taken\r\n"
                }
                "QUIT" => break,
                _ => b"250 yes\r\n",
            };
            out.write_all(answer).unwrap();
        }
        mail
    });
    (address, taken)
}

#[test]
fn an_alert_is_posted_and_mailed() {
    let lab = Lab::new();
    let ((web, posted), (mail, mailed)) = (web(), mail());
    let mail = format!("{{ to = \"ops@example.org\", from = \"a@example.org\", smtp = \"smtp://{mail}\" }}");
    set(
        &lab,
        &format!("[notify]\nwebhook = \"http://{web}/alert\"\nmail = {mail}\non = [\"success\"]\n"),
    );
    lab.run(["backup"]).exits(0);
    let posted: Value = serde_json::from_str(&posted.join().unwrap()).unwrap();
    assert_eq!(
        (&posted["kind"], &posted["server"]),
        (&json!("success"), &json!("server"))
    );
    let mailed = mailed.join().unwrap();
    assert!(mailed.contains("Subject: [lockstone] server: the backup"), "{mailed}");
    assert!(mailed.contains("To: ops@example.org"), "{mailed}");
    assert!(alerts(&lab)[0].get("undelivered").is_none());
}

#[test]
fn deleted_points_are_always_told() {
    let lab = Lab::new();
    tree::plain(&lab.source());
    set(&lab, "[notify]\non = [\"missed\"]\n");
    let point = lab.run(["backup", "--json"]).exits(0).json();
    let point = point["point"].as_str().unwrap();
    lab.run(["points", "delete", point, "--yes"]).exits(0);
    let found = alerts(&lab);
    assert_eq!((found.len(), &found[0]["kind"]), (1, &json!("deletion")), "{found:?}");
    lab.run(["points", "delete", point, "--yes"]).exits(0);
    assert_eq!(alerts(&lab).len(), 1, "nothing was deleted the second time");
}
