//! Finding entries by name in recovery points.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use globset::{Candidate, GlobBuilder, GlobMatcher};
use lockstone_proto::ids::ChunkId;
use lockstone_vault::domain::Domain;
use lockstone_vault::points::{Findings, Search, Wanted};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::access::session::Session;
use crate::failure::Failure;

/// A scout looks into so many trees that follow one another. Scouts in neighbouring trees would look at the same pages
/// at the same time.
const RUN: usize = 16;
/// So many scouts are ahead of the search at most. What they find takes memory.
const SCOUTS: usize = 4;

/// Is told what is found, tree by tree.
pub(crate) trait ByTree: Findings {
    /// What comes next is in the tree at this place.
    fn come_to(&mut self, place: usize);
}

/// Looks for a pattern in these trees, one after another. Tasks look into trees before the search comes to them,
/// because reading pages keeps a core busy.
pub(crate) async fn find(
    session: &Session,
    roots: Vec<Option<ChunkId>>,
    pattern: Pattern,
    findings: &mut impl ByTree,
) -> Result<(), Failure> {
    let search = Arc::new(Search::new(Arc::clone(&session.domain), Arc::new(pattern)));
    let roots: Arc<[Option<ChunkId>]> = roots.into();
    // The first tree has most of the pages, so the scouts begin behind it.
    let mut scouts = Scouts::behind(1, &search, &roots);
    let mut found = Ok(ControlFlow::Continue(()));
    for (place, root) in roots.iter().enumerate() {
        scouts.looked_at(place).await;
        findings.come_to(place);
        found = search.find(*root, findings).await;
        if !matches!(found, Ok(ControlFlow::Continue(()))) {
            break;
        }
    }
    // They hold the domain.
    scouts.tasks.shutdown().await;
    found.map(|_| ()).map_err(Failure::from)
}

/// Tasks that go ahead of a search.
struct Scouts {
    search: Arc<Search<Domain>>,
    roots: Arc<[Option<ChunkId>]>,
    tasks: JoinSet<()>,
    /// The trees of each task that was not waited for, and what tells that it has ended.
    ahead: VecDeque<(Range<usize>, oneshot::Receiver<()>)>,
    /// The first tree that no task looks into yet.
    next: usize,
}

impl Scouts {
    fn behind(next: usize, search: &Arc<Search<Domain>>, roots: &Arc<[Option<ChunkId>]>) -> Scouts {
        Scouts {
            search: Arc::clone(search),
            roots: Arc::clone(roots),
            tasks: JoinSet::new(),
            ahead: VecDeque::new(),
            next,
        }
    }

    /// Waits until the scouts have looked into this tree, if it is one of theirs.
    async fn looked_at(&mut self, place: usize) {
        if place == 0 {
            return;
        }
        while self.ahead.len() < SCOUTS && self.next < self.roots.len() {
            self.send_one();
        }
        if self.ahead.front().is_some_and(|(trees, _)| trees.contains(&place))
            && let Some((_, ended)) = self.ahead.pop_front()
        {
            // If a scout has failed, the search looks itself.
            let _ = ended.await;
        }
    }

    fn send_one(&mut self) {
        let trees = self.next..self.roots.len().min(self.next + RUN);
        self.next = trees.end;
        let (search, roots, own) = (Arc::clone(&self.search), Arc::clone(&self.roots), trees.clone());
        let (end, ended) = oneshot::channel();
        self.tasks.spawn(async move {
            for root in &roots[own] {
                // The search meets the error, too, and says it.
                if search.look_ahead(*root).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let _ = end.send(());
        });
        self.ahead.push_back((trees, ended));
    }
}

/// What is looked for: a glob for the name, or for the whole path where it holds a slash.
pub(crate) struct Pattern {
    kind: PatternKind,
    by_path: bool,
}

/// Most patterns are so simple that a comparison of bytes decides.
enum PatternKind {
    Name(Vec<u8>),
    Begins(Vec<u8>),
    Ends(Vec<u8>),
    Glob(Box<GlobMatcher>),
}

impl Pattern {
    /// In a pattern for paths, `*` stays within a folder and `**` does not.
    pub(crate) fn new(pattern: &str, ignore_case: bool) -> Result<Pattern, Failure> {
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .backslash_escape(true)
            .case_insensitive(ignore_case)
            .build()
            .map_err(|error| {
                let message = format!("{pattern:?} is not a pattern: {}", error.kind());
                Failure::usage(message, "a pattern may hold `*`, `?`, `[a-z]`, `{a,b}` and `**`")
            })?;
        let by_path = pattern.contains('/');
        let simple = |text: &str| !ignore_case && !by_path && !text.contains(['*', '?', '[', ']', '{', '}', '\\', ',']);
        let kind = match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            _ if simple(pattern) => PatternKind::Name(pattern.into()),
            (Some(end), _) if simple(end) => PatternKind::Ends(end.into()),
            (_, Some(begin)) if simple(begin) => PatternKind::Begins(begin.into()),
            _ => PatternKind::Glob(Box::new(glob.compile_matcher())),
        };
        Ok(Pattern { kind, by_path })
    }
}

impl Wanted for Pattern {
    fn is_by_path(&self) -> bool {
        self.by_path
    }

    fn is_match(&self, path: &[u8], name: &[u8]) -> bool {
        match &self.kind {
            PatternKind::Name(wanted) => name == wanted,
            PatternKind::Begins(begin) => name.starts_with(begin),
            PatternKind::Ends(end) => name.ends_with(end),
            PatternKind::Glob(glob) => {
                let text = if self.by_path { path } else { name };
                glob.is_match_candidate(&Candidate::from_bytes(text))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn matches(pattern: &str, ignore_case: bool, path: &[u8]) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap();
        Pattern::new(pattern, ignore_case).unwrap().is_match(path, name)
    }

    #[test]
    fn patterns_find_names_of_any_bytes() {
        assert!(matches("*.conf", false, b"/a\xff.conf"));
        assert!(!matches("*.conf", false, b"/a.CONF"));
        assert!(matches("*.conf", true, b"/a.CONF"));
        assert!(Pattern::new("[", false).is_err());
    }

    #[test]
    fn a_pattern_with_a_slash_is_for_the_whole_path() {
        assert!(matches("/etc/**/*.conf", false, b"/etc/a/b.conf"));
        assert!(!matches("/etc/**/*.conf", false, b"/srv/a/b.conf"));
        assert!(!matches("/etc/*", false, b"/etc/a/b"));
    }

    #[test]
    fn simple_patterns_find_what_globs_find() {
        for pattern in ["", "*", "a", "a*", "*a", "*a*", "a?", "**", "*.c", "a,b", "{a,b}"] {
            let glob = GlobBuilder::new(pattern).literal_separator(true).build().unwrap();
            let glob = glob.compile_matcher();
            for name in ["", "a", "b", "aa", "ba", "bab", "a.c", ".c", "a,b", "*"] {
                let path = format!("/{name}");
                assert_eq!(
                    matches(pattern, false, path.as_bytes()),
                    glob.is_match(name),
                    "{pattern} {name}"
                );
            }
        }
    }
}
