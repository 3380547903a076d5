//! What this machine is called: host name, full name, and the id that the operating system gave it. `register` notes
//! them, and a backup compares them: a machine that has got another name, or a state folder that came to another
//! machine, would go on with backups that are not its own.
//!
//! Nothing is asked over the network: a name server that is away must not stop a backup.

use serde::{Deserialize, Serialize};

use crate::failure::{Exit, Failure};

/// What a machine is called. What is not known is `None`, and is not compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Host {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The name with its domain, as /etc/hosts has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) full_name: Option<String>,
    /// /etc/machine-id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) machine_id: Option<String>,
}

impl Host {
    /// What this machine is called now.
    pub(crate) fn now() -> Host {
        // In a chroot without /proc the name is only in a file.
        let name = first_line("/proc/sys/kernel/hostname").or_else(|| first_line("/etc/hostname"));
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let full_name = name.as_deref().and_then(|name| full_name(name, &hosts));
        let machine_id = first_line("/etc/machine-id").filter(|id| id != "uninitialized");
        Host {
            name,
            full_name,
            machine_id,
        }
    }

    /// What is called otherwise now, in words; nothing if all that is known on both sides is the same.
    fn changes(&self, now: &Host) -> Vec<String> {
        let pairs = [
            ("host name", &self.name, &now.name),
            ("full name", &self.full_name, &now.full_name),
            ("machine id", &self.machine_id, &now.machine_id),
        ];
        let changed = pairs.into_iter().filter_map(|(what, then, now)| match (then, now) {
            (Some(then), Some(now)) if then != now => Some(format!("its {what} was {then} and is {now}")),
            _ => None,
        });
        changed.collect()
    }
}

/// The first line of a file without blanks around it; `None` if there is none.
fn first_line(file: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// The name with a domain: the host name itself if it has a dot, else the first name on the line of /etc/hosts that
/// lists the host name.
fn full_name(name: &str, hosts: &str) -> Option<String> {
    if name.contains('.') {
        return Some(name.to_owned());
    }
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let mut named = lines.filter_map(|line| {
        let mut words = line.split_whitespace().skip(1).peekable();
        let first = words.peek().copied()?;
        words.any(|word| word == name).then_some(first)
    });
    named
        .find(|first| first.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
        .map(str::to_owned)
}

/// Why this machine is not the one that was registered as `server`, in words; `None` if it is, as far as is known.
pub(crate) fn renamed(registered: &Host, server: &str) -> Option<String> {
    let changes = registered.changes(&Host::now());
    (!changes.is_empty()).then(|| {
        format!(
            "this machine is not called as it was when it was registered as {server}: {}",
            changes.join(", ")
        )
    })
}

/// Fails with `renamed` (exit 8) if this machine is called otherwise than when it was registered as `server`.
pub(crate) fn must_be_the_same(registered: &Host, server: &str) -> Result<(), Failure> {
    let Some(message) = renamed(registered, server) else {
        return Ok(());
    };
    let hint = format!(
        "register it under its new name: `lockstone register --credentials FILE`; the first backup reads every file\n\
         what was backed up as {server} restores with `lockstone restore POINT --credentials FILE --source-server \
         {server} --target DIR`\n\
         if only the name was changed by mistake, change it back"
    );
    Err(Failure::new(Exit::NotRegistered, "renamed", message, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, full_name: Option<&str>, machine_id: Option<&str>) -> Host {
        Host {
            name: Some(name.to_owned()),
            full_name: full_name.map(str::to_owned),
            machine_id: machine_id.map(str::to_owned),
        }
    }

    #[test]
    fn a_change_of_any_name_is_noticed_and_what_is_not_known_is_not_compared() {
        let then = host("web", Some("web.example.org"), Some("aa"));
        assert!(then.changes(&then).is_empty());
        assert_eq!(then.changes(&host("db", Some("web.example.org"), Some("aa"))).len(), 1);
        assert_eq!(then.changes(&host("db", Some("db.example.org"), Some("bb"))).len(), 3);
        assert!(then.changes(&host("web", None, None)).is_empty());
        assert!(Host::default().changes(&then).is_empty());
    }

    #[test]
    fn the_full_name_is_that_of_the_hosts_file() {
        let hosts = "127.0.0.1 localhost web # here\n127.0.1.1\tweb.example.org web\n::1 other.example.org other\n";
        assert_eq!(full_name("web", hosts).as_deref(), Some("web.example.org"));
        assert_eq!(full_name("other", hosts).as_deref(), Some("other.example.org"));
        assert_eq!(full_name("a.b", hosts).as_deref(), Some("a.b"));
        assert_eq!(full_name("localhost", hosts), None);
        assert_eq!(full_name("none", "garbage\n\n#\n"), None);
    }
}
