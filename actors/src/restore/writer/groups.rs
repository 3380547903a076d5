//! Files with several names. The first name that is met becomes the file, and the others become links to it. A name
//! that is in the target already, as it should be, is as good as one that this restore writes.

use std::collections::HashMap;
use std::sync::Arc;

use lockstone_host::walk::Stat;
use lockstone_proto::vault::Entry;

use super::open_files::{Action, FileOut, FolderOut, Plan};

/// The groups of names that are not complete yet, by device and inode in the source.
#[derive(Default)]
pub(crate) struct Groups {
    groups: HashMap<(u64, u64), Group>,
}

/// The names of one file.
struct Group {
    /// What further names are linked to.
    first: Arc<FileOut>,
    /// Device and inode in the target, if it was there already.
    there: Option<(u64, u64)>,
    /// The names that this restore writes.
    made: Vec<Arc<FileOut>>,
    /// How many names were met. When it is all of them, the group is forgotten.
    met: u64,
}

/// What becomes of one more name.
pub(crate) struct Joined {
    /// What is to be done, this name first.
    pub(crate) files: Vec<Arc<FileOut>>,
    /// The name was there, but as a file of its own.
    pub(crate) is_torn: bool,
}

impl Groups {
    /// Adds a name for which `plan` was made. `there` is the existing file, if the plan leaves it or only sets its
    /// attributes. With `may_replace`, an existing file of its own becomes a link.
    pub(crate) fn join(
        &mut self,
        folder: &Arc<FolderOut>,
        entry: Entry,
        plan: Plan,
        there: Option<&Stat>,
        may_replace: bool,
    ) -> Joined {
        let key = (entry.device, entry.inode);
        let there = there.map(|stat| (stat.device_raw, stat.inode));
        let links = entry.links;
        let group = self
            .groups
            .get_mut(&key)
            .filter(|group| is_same_file(&group.first.entry, &entry));
        let Some(group) = group else {
            let file = FileOut::new(folder, entry, plan);
            let made = if there.is_none() {
                vec![Arc::clone(&file)]
            } else {
                Vec::new()
            };
            let group = Group {
                first: Arc::clone(&file),
                there,
                made,
                met: 1,
            };
            self.groups.insert(key, group);
            return Joined {
                files: vec![file],
                is_torn: false,
            };
        };
        group.met += 1;
        let joined = group.join(folder, entry, plan, there, may_replace);
        if group.met >= links {
            self.groups.remove(&key);
        }
        joined
    }
}

impl Group {
    fn join(
        &mut self,
        folder: &Arc<FolderOut>,
        entry: Entry,
        plan: Plan,
        there: Option<(u64, u64)>,
        may_replace: bool,
    ) -> Joined {
        let mut joined = Joined {
            files: Vec::new(),
            is_torn: false,
        };
        if let (Some(there), false) = (there, may_replace) {
            // It stays as it is.
            let kept = FileOut::new(folder, entry, plan);
            joined.is_torn = self.there.is_some_and(|first| first != there);
            joined.files.push(Arc::clone(&kept));
            if self.there.is_none() {
                // What this restore has written so far becomes names of it.
                for made in self.made.drain(..) {
                    let rejoin = Action::Rejoin {
                        made: Arc::clone(&made),
                        kept: Arc::clone(&kept),
                    };
                    joined
                        .files
                        .push(FileOut::new(&made.folder, made.entry.clone(), rejoin.into()));
                }
                self.first = kept;
                self.there = Some(there);
            }
            return joined;
        }
        if there.is_some() && there == self.there {
            joined.files.push(FileOut::new(folder, entry, plan));
            return joined;
        }
        let (name, replace) = match plan.action {
            Action::Write { name, replace } | Action::Link { name, replace, .. } => (name, replace),
            Action::Attributes | Action::Keep(_) | Action::Rejoin { .. } => (entry.name.clone(), true),
        };
        let link = Action::Link {
            name,
            replace,
            first: Arc::clone(&self.first),
        };
        let file = FileOut::new(folder, entry, link.into());
        if self.there.is_none() {
            self.made.push(Arc::clone(&file));
        }
        joined.files.push(file);
        joined
    }
}

fn is_same_file(a: &Entry, b: &Entry) -> bool {
    (a.kind, a.size, a.mtime_s, a.mtime_ns, a.ctime_s, a.ctime_ns)
        == (b.kind, b.size, b.mtime_s, b.mtime_ns, b.ctime_s, b.ctime_ns)
        && a.content == b.content
}

#[cfg(test)]
mod tests {
    use lockstone_proto::vault::{Content, EntryKind};

    use super::*;

    /// After a change between two names, or on file systems that use a number again, device and inode are the same and
    /// the file is another. A link would give the second name the content of the first.
    #[test]
    fn names_belong_together_only_if_everything_of_the_file_agrees() {
        let first = Entry {
            name: "first".into(),
            kind: EntryKind::File.into(),
            size: 5,
            mtime_s: 1,
            mtime_ns: 2,
            ctime_s: 3,
            ctime_ns: 4,
            content: Some(Content::default()),
            ..Entry::default()
        };
        let second = Entry {
            name: "second".into(),
            ..first.clone()
        };
        assert!(is_same_file(&first, &second));
        let changes: [fn(&mut Entry); 7] = [
            |entry| entry.kind = EntryKind::Fifo.into(),
            |entry| entry.size += 1,
            |entry| entry.mtime_s += 1,
            |entry| entry.mtime_ns += 1,
            |entry| entry.ctime_s += 1,
            |entry| entry.ctime_ns += 1,
            |entry| entry.content = None,
        ];
        for change in changes {
            let mut other = second.clone();
            change(&mut other);
            assert!(!is_same_file(&first, &other), "{other:?}");
        }
    }
}
