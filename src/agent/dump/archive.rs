//! Entries of a recovery point as members of a tar archive: GNU headers with long names, and PAX records for what they
//! cannot say (times with nanoseconds or before 1970, extended attributes and ACLs). GNU tar, bsdtar and Python read
//! this.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;

use lockstone_proto::vault::{Entry, EntryKind};
use tar::{Builder, EntryType, Header};

const BLOCK: u64 = 512;
static ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];

/// By what names of one file are recognised (docs/format.md, section 8).
#[derive(PartialEq, Eq, Hash)]
struct FileKey {
    file: (u64, u64, i32, u64),
    modified: (i64, u32),
    changed: (i64, u32),
    content: u64,
}

/// What an archive knows of the members before.
#[derive(Default)]
pub(super) struct Archive {
    /// Files of which more names are to come: the name that has the content, and how many are still to come.
    linked: HashMap<FileKey, (Vec<u8>, u64)>,
}

impl Archive {
    /// What stands behind the last member.
    pub(super) const END: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];

    /// How many bytes of content stand behind the entry's header.
    pub(super) fn content_len(&self, entry: &Entry) -> u64 {
        let is_known = || entry.links > 1 && self.linked.contains_key(&key(entry));
        if entry.kind() == EntryKind::File && !is_known() {
            entry.size
        } else {
            0
        }
    }

    /// What stands between content of that length and the next header.
    pub(super) fn padding(len: u64) -> &'static [u8] {
        let over = usize::try_from(len % BLOCK).unwrap_or(0);
        if over == 0 { &[] } else { &ZEROS[over..] }
    }

    /// The header of an entry. `problem` is told what it cannot hold.
    pub(super) fn header(
        &mut self,
        name: &[u8],
        entry: &Entry,
        mut problem: impl FnMut(String),
    ) -> io::Result<Vec<u8>> {
        let first = self.first_name(name, entry);
        let size = if first.is_none() && entry.kind() == EntryKind::File {
            entry.size
        } else {
            0
        };
        let mut header = Header::new_gnu();
        header.set_entry_type(match entry.kind() {
            _ if first.is_some() => EntryType::Link,
            EntryKind::Folder => EntryType::Directory,
            EntryKind::Symlink => EntryType::Symlink,
            EntryKind::Fifo => EntryType::Fifo,
            EntryKind::CharDevice => EntryType::Char,
            EntryKind::BlockDevice => EntryType::Block,
            EntryKind::File | EntryKind::Unspecified => EntryType::Regular,
        });
        header.set_mode(entry.mode);
        header.set_uid(entry.uid.into());
        header.set_gid(entry.gid.into());
        header.set_mtime(u64::try_from(entry.mtime_s).unwrap_or(0));
        header.set_size(size);
        // Names of owners that do not fit are left out; their numbers are there.
        for (name, group) in [(&entry.user, false), (&entry.group, true)] {
            if let Ok(name) = std::str::from_utf8(name) {
                let _ = if group {
                    header.set_groupname(name)
                } else {
                    header.set_username(name)
                };
            }
        }
        if matches!(entry.kind(), EntryKind::CharDevice | EntryKind::BlockDevice) {
            header.set_device_major(entry.rdev_major)?;
            header.set_device_minor(entry.rdev_minor)?;
        }
        let mut member = Builder::new(Vec::new());
        let records = records(entry, &mut problem);
        let records = records.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        member.append_pax_extensions(records)?;
        let mut member = std::mem::take(member.get_mut());
        let mut path = name.to_vec();
        if entry.kind() == EntryKind::Folder {
            path.push(b'/');
        }
        let link = first.as_deref().unwrap_or(&entry.link_target);
        // The names go in as they are, in any bytes, which the crate would clean or refuse.
        let fields = header.as_old_mut();
        if !fit(&mut fields.linkname, link) {
            member.extend(long_name(EntryType::GNULongLink, link)?);
        }
        if !fit(&mut fields.name, &path) {
            member.extend(long_name(EntryType::GNULongName, &path)?);
        }
        header.set_cksum();
        member.extend_from_slice(header.as_bytes());
        Ok(member)
    }

    /// The name under which the entry's file is in the archive already, if it is.
    fn first_name(&mut self, name: &[u8], entry: &Entry) -> Option<Vec<u8>> {
        if entry.links < 2 || entry.kind() == EntryKind::Folder {
            return None;
        }
        let key = key(entry);
        if let Some((first, left)) = self.linked.get_mut(&key) {
            let first = first.clone();
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.linked.remove(&key);
            }
            return Some(first);
        }
        self.linked.insert(key, (name.to_vec(), entry.links - 1));
        None
    }
}

fn key(entry: &Entry) -> FileKey {
    let mut content = DefaultHasher::new();
    if let Some(list) = &entry.content {
        (&list.ids[..], &list.lens).hash(&mut content);
    }
    FileKey {
        file: (entry.device, entry.inode, entry.kind, entry.size),
        modified: (entry.mtime_s, entry.mtime_ns),
        changed: (entry.ctime_s, entry.ctime_ns),
        content: content.finish(),
    }
}

/// Puts a name into a field of a header. False if it was cut.
fn fit(field: &mut [u8], name: &[u8]) -> bool {
    let len = name.len().min(field.len());
    field[..len].copy_from_slice(&name[..len]);
    len == name.len()
}

/// A member that says the whole name of the next one.
fn long_name(kind: EntryType, name: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = Header::new_gnu();
    header.set_path("././@LongLink")?;
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let len = name.len() as u64 + 1;
    header.set_size(len);
    header.set_cksum();
    Ok([header.as_bytes(), name, &[0], Archive::padding(len)].concat())
}

/// The PAX records of an entry.
fn records(entry: &Entry, problem: &mut impl FnMut(String)) -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::new();
    if entry.mtime_ns != 0 || entry.mtime_s < 0 {
        // Before 1970 the whole is below zero: −2 s and 500,000,000 ns are −1.5 s.
        let nanoseconds = i128::from(entry.mtime_s) * 1_000_000_000 + i128::from(entry.mtime_ns);
        let (sign, size) = (if nanoseconds < 0 { "-" } else { "" }, nanoseconds.unsigned_abs());
        let time = format!("{sign}{}.{:09}", size / 1_000_000_000, size % 1_000_000_000);
        records.push(("mtime".to_owned(), time.into_bytes()));
    }
    for xattr in &entry.xattrs {
        match std::str::from_utf8(&xattr.name) {
            // A record's name ends at its first `=`.
            Ok(name) if !name.contains('=') => {
                records.push((format!("SCHILY.xattr.{name}"), xattr.value.to_vec()));
            }
            _ => problem("an extended attribute cannot be in an archive, and was left out".to_owned()),
        }
    }
    records
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::io::Read as _;

    use lockstone_proto::vault::Xattr;

    use super::*;

    fn member(archive: &mut Archive, name: &[u8], entry: &Entry) -> Vec<u8> {
        let len = usize::try_from(archive.content_len(entry)).unwrap();
        let mut bytes = archive.header(name, entry, |problem| panic!("{problem}")).unwrap();
        bytes.extend(vec![b'x'; len]);
        bytes.extend(Archive::padding(len as u64));
        bytes
    }

    #[test]
    fn members_are_read_as_they_were() {
        let long = [&b"long\xff/"[..], &[b'n'; 300]].concat();
        let file = Entry {
            kind: EntryKind::File.into(),
            mode: 0o4755,
            uid: 3_000_000,
            user: "somebody".into(),
            mtime_s: -2,
            mtime_ns: 500_000_000,
            size: 700,
            links: 2,
            inode: 9,
            xattrs: vec![Xattr {
                name: "user.note".into(),
                value: vec![0, b'=', 255].into(),
            }],
            ..Entry::default()
        };
        let symlink = Entry {
            kind: EntryKind::Symlink.into(),
            link_target: "./a//../b/".into(),
            ..Entry::default()
        };
        let device = Entry {
            kind: EntryKind::BlockDevice.into(),
            rdev_major: 8,
            rdev_minor: 300,
            ..Entry::default()
        };
        let mut archive = Archive::default();
        let mut bytes = Vec::new();
        for (name, entry) in [(&long[..], &file), (b"again", &file), (b"s", &symlink), (b"d", &device)] {
            bytes.extend(member(&mut archive, name, entry));
        }
        assert!(archive.linked.is_empty(), "no more names are to come");
        bytes.extend(Archive::END);
        let mut read = tar::Archive::new(&bytes[..]);
        let mut members = read.entries().unwrap().map(Result::unwrap);

        let mut first = members.next().unwrap();
        assert_eq!(&*first.path_bytes(), &long[..]);
        let header = first.header().clone();
        assert_eq!((header.mode().unwrap(), header.uid().unwrap()), (0o4755, 3_000_000));
        assert_eq!(header.username().unwrap(), Some("somebody"));
        let records = first.pax_extensions().unwrap().unwrap();
        let records: Vec<(String, Vec<u8>)> = records
            .map(|record| {
                let record = record.unwrap();
                (record.key().unwrap().to_owned(), record.value_bytes().to_vec())
            })
            .collect();
        assert!(
            records.contains(&("mtime".to_owned(), b"-1.500000000".to_vec())),
            "{records:?}"
        );
        let mut content = Vec::new();
        first.read_to_end(&mut content).unwrap();
        assert_eq!(content, [b'x'; 700]);

        let again = members.next().unwrap();
        assert_eq!(again.header().entry_type(), EntryType::Link);
        assert_eq!(&*again.link_name_bytes().unwrap(), &long[..]);
        assert_eq!(&*members.next().unwrap().link_name_bytes().unwrap(), b"./a//../b/");
        let device = members.next().unwrap();
        assert_eq!(device.header().device_minor().unwrap(), Some(300));
        assert!(members.next().is_none());
    }

    #[test]
    fn content_ends_at_a_block() {
        for (len, padding) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)] {
            assert_eq!(Archive::padding(len).len(), padding);
        }
    }
}
