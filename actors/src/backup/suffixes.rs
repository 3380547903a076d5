//! How the names of new and changed files end: so that a guard can tell when one ending takes over.

use std::collections::HashMap;

use parking_lot::Mutex;

/// At most this many endings are counted. Files with others are not counted.
const MAX: usize = 256;
/// The longest ending that is counted, bytes, without its dot.
const LEN_MAX: usize = 15;
/// So many endings are reported.
const TOP: usize = 3;

/// Counts endings.
#[derive(Debug, Default)]
pub(crate) struct Suffixes {
    counts: Mutex<HashMap<Vec<u8>, u64>>,
}

impl Suffixes {
    /// Counts the ending of a file's name, if it has one.
    pub(crate) fn count(&self, name: &[u8]) {
        let Some(dot) = name.iter().rposition(|byte| *byte == b'.') else {
            return;
        };
        let suffix = &name[dot + 1..];
        if dot == 0 || suffix.is_empty() || suffix.len() > LEN_MAX {
            return;
        }
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(suffix) {
            *count += 1;
        } else if counts.len() < MAX {
            counts.insert(suffix.to_vec(), 1);
        }
    }

    /// Begins again.
    pub(crate) fn clear(&self) {
        self.counts.lock().clear();
    }

    /// The most frequent endings, the first one first.
    pub(crate) fn top(&self) -> Vec<(String, u64)> {
        let counts = self.counts.lock();
        let mut all: Vec<(&Vec<u8>, u64)> = counts.iter().map(|(suffix, count)| (suffix, *count)).collect();
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        all.truncate(TOP);
        let text = |(suffix, count): (&Vec<u8>, u64)| (String::from_utf8_lossy(suffix).into_owned(), count);
        all.into_iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_counted_within_bounds() {
        let suffixes = Suffixes::default();
        for name in [
            "a.c",
            "b.c",
            "c.h",
            ".bashrc",
            "none",
            "dot.",
            "x.tar.gz",
            "long.ending-of-a-name-that-is-none",
        ] {
            suffixes.count(name.as_bytes());
        }
        let top = |suffix: &str, count| (suffix.to_owned(), count);
        assert_eq!(suffixes.top(), [top("c", 2), top("gz", 1), top("h", 1)]);
        for n in 0..10_000 {
            suffixes.count(format!("f.{n}").as_bytes());
        }
        assert!(suffixes.counts.lock().len() <= MAX);
        suffixes.clear();
        assert!(suffixes.top().is_empty());
    }
}
