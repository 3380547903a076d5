//! Asks a program for its metrics over HTTP, and ends the program with the test.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use lockstone_actors::metrics::list;
use rustix::process::{Pid, Signal, kill_process};

/// The longest time for something that takes no time on an idle machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks for a page and returns status and body, `None` if there is no answer.
pub(crate) fn ask(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    // With HTTP 1.0 the answer comes in one piece and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Asks a daemon over its control socket, and returns status and body.
pub(crate) fn control(socket: &Path, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// Asks for a page that must exist.
#[track_caller]
pub(crate) fn page(address: &str, path: &str) -> String {
    let (status, body) = ask(address, path).unwrap_or_else(|| panic!("nobody answers at {address}"));
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// Tries until there is a result.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A running program. Dropping it kills the program if it has not ended.
pub(crate) struct Started(pub(crate) Child);

impl Started {
    /// Sends a signal and waits until the program has ended.
    pub(crate) fn end_by(&mut self, signal: Signal) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The value of a series on a page.
pub(crate) fn value(page: &str, series: &str) -> Option<f64> {
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.parse().ok()
}

/// Asserts that each series belongs to a metric of the catalogue, that the page has the metric's help and type, and
/// that each label has one of its allowed values.
#[track_caller]
pub(crate) fn assert_in_catalogue(page: &str) {
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
            let family = name.strip_suffix(end)?;
            list::ALL.iter().find(|metric| metric.name == family)
        });
        let metric = family
            .or_else(|| list::ALL.iter().find(|metric| metric.name == name))
            .unwrap_or_else(|| panic!("not in the catalogue: {line}"));
        assert!(
            page.contains(&format!("# HELP {} {}\n", metric.name, metric.help)),
            "{name}"
        );
        assert!(
            page.contains(&format!("# TYPE {} {}\n", metric.name, metric.kind.word())),
            "{name}"
        );
        for pair in labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty()) {
            let (label, value) = pair.split_once('=').unwrap_or_else(|| panic!("{line}"));
            let value = value.trim_matches('"');
            let known = metric.labels.iter().find(|known| known.name == label);
            let bounded = known.is_some_and(|known| known.values.contains(&value));
            assert!(bounded || label == "le", "{label} = {value}: {line}");
        }
    }
}
