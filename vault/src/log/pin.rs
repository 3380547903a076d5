//! The pin: the last log entry this machine has seen, in a small file outside the cache folder. It shows that a vault
//! was set back even after the cache was deleted.
//!
//! The file is one line of text: `lockstone log pin 1 <domain> <n> <hash>`. A pin that cannot be read is ignored: it
//! only adds safety and must not prevent restores.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use lockstone_proto::ids::DomainId;

use super::LogHead;

/// A pin of one domain's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) domain: DomainId,
    pub(crate) head: LogHead,
}

impl Pin {
    /// Reads a pin of that domain.
    pub(crate) fn read(path: &Path, domain: DomainId) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let mut words = text.strip_prefix("lockstone log pin 1 ")?.split_whitespace();
        let found: DomainId = words.next()?.parse().ok()?;
        let n = words.next()?.parse().ok()?;
        let mut hash = [0; 32];
        hex::decode_to_slice(words.next()?, &mut hash).ok()?;
        (found == domain).then_some(Self {
            domain,
            head: LogHead { n, hash },
        })
    }

    /// Replaces the pin file whole, durably.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = Path::new(&new);
        let mut file = fs::File::create(new)?;
        writeln!(
            file,
            "lockstone log pin 1 {} {} {}",
            self.domain,
            self.head.n,
            hex::encode(self.head.hash)
        )?;
        file.sync_all()?;
        fs::rename(new, path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_pin_survives_its_file_and_a_damaged_one_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        let pin = Pin {
            domain: DomainId([1; 16]),
            head: LogHead { n: 7, hash: [9; 32] },
        };
        assert_eq!(Pin::read(&path, pin.domain), None);
        pin.write(&path).unwrap();
        assert_eq!(Pin::read(&path, pin.domain), Some(pin));
        assert_eq!(Pin::read(&path, DomainId([2; 16])), None);
        fs::write(&path, "lockstone log pin 1 garbage").unwrap();
        assert_eq!(Pin::read(&path, pin.domain), None);
    }
}
