//! `NO_PROXY` as curl reads it: names and addresses of hosts, with a port or without, and `*` for all hosts. The HTTP
//! client knows names, addresses and networks, but neither `*` beside a proxy for all schemes nor ports.

use std::net::IpAddr;

/// The hosts that are asked without a proxy, beyond those that the HTTP client finds itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoProxy(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    All,
    Host { name: String, port: u16 },
}

impl NoProxy {
    /// `None` if the environment says nothing that the HTTP client does not know itself.
    pub(super) fn of_environment() -> Option<Self> {
        let set = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
        Self::parse(&set("no_proxy").or_else(|| set("NO_PROXY"))?)
    }

    fn parse(text: &str) -> Option<Self> {
        let entries = text.split(',').map(str::trim).filter_map(|entry| {
            if entry == "*" {
                return Some(Entry::All);
            }
            let (name, port) = entry.rsplit_once(':')?;
            // An address of IPv6 has colons, too. With a port it stands in brackets.
            let name = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
                Some(address) => address,
                None if name.contains(':') => return None,
                None => name,
            };
            let (name, port) = (name.trim_start_matches('.').to_ascii_lowercase(), port.parse().ok()?);
            Some(Entry::Host { name, port })
        });
        let entries: Vec<Entry> = entries.collect();
        (!entries.is_empty()).then_some(Self(entries))
    }

    /// Whether the host of this URL is one of them. A name stands for the names below it, too.
    pub(super) fn names(&self, url: &reqwest::Url) -> bool {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_address = host.parse::<IpAddr>().is_ok();
        self.0.iter().any(|entry| match entry {
            Entry::All => true,
            Entry::Host { name, port } => {
                let below = || !is_address && host.strip_suffix(name.as_str()).is_some_and(|left| left.ends_with('.'));
                url.port_or_known_default() == Some(*port) && (host == name || below())
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_as_curl_reads_them() {
        let names = |text: &str, url: &str| {
            NoProxy::parse(text).is_some_and(|hosts| hosts.names(&url.parse::<reqwest::Url>().unwrap()))
        };
        assert!(names("*", "http://store.example"));
        assert!(names("a, 127.0.0.1:9000", "http://127.0.0.1:9000/x"));
        assert!(!names("127.0.0.1:9000", "http://127.0.0.1:9001/x"));
        assert!(names("[::1]:9000", "http://[::1]:9000/"));
        assert!(names(".Example.com:443", "https://bucket.example.com/"));
        assert!(names("example.com:443", "https://example.com/"));
        assert!(!names("example.com:443", "https://badexample.com/"));
        assert_eq!(
            NoProxy::parse("example.com,::1,10.0.0.0/8"),
            None,
            "the HTTP client knows these"
        );
    }
}
