//! `lockstone points find`. Matches are printed as they are found.

use clap::Args;
use globset::{Candidate, GlobBuilder, GlobMatcher};
use lockstone_proto::vault::Entry;
use lockstone_vault::log::Point;

use super::reading;
use crate::agent::access::paths::root;
use crate::agent::access::session::Session;
use crate::cli::access::AccessArgs;
use crate::cli::context::Context;
use crate::cli::output::{List, Outcome, Output, so_far};
use crate::documents::point::{EntryDocument, MatchDocument, NothingMore};
use crate::failure::Failure;
use crate::text::point::{entry_line, short};
use crate::text::render;

/// Options of `points find`.
#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    /// A glob for the name (`*.conf`), or for the whole path where it holds a slash (`/etc/**/*.conf`)
    pattern: String,
    /// Look only into this recovery point; into all of this server otherwise
    #[arg(long)]
    point: Option<String>,
    /// Capital letters and small ones are the same
    #[arg(short, long)]
    ignore_case: bool,
    #[command(flatten)]
    access: AccessArgs,
}

pub(super) fn run(context: &Context, args: &FindArgs) -> Outcome {
    let pattern = Pattern::new(&args.pattern, args.ignore_case)?;
    let (session, view) = reading::open(context, &args.access)?;
    let is_wanted = |point: &&Point| session.is_own(point.server) && point.forgotten.is_none();
    let chosen: Vec<&Point> = match &args.point {
        Some(name) => vec![session.point(&view, name)?],
        None => view.points.iter().rev().filter(is_wanted).collect(),
    };
    so_far(reading::exit(&view, false));
    let mut list = context.out.list("matches");
    let found = context.block_on(find(&context.out, &session, &chosen, &pattern, &mut list));
    let damaged = match found {
        Ok(damaged) => damaged,
        Err(failure) => return Ok(list.fail(&failure)),
    };
    if list.is_empty() {
        list.heading("nothing found");
    }
    list.end(&NothingMore {});
    Ok(reading::exit(&view, damaged))
}

/// Lists the matches in each point. Returns whether a page was damaged.
async fn find(
    out: &Output,
    session: &Session,
    points: &[&Point],
    pattern: &Pattern,
    list: &mut List,
) -> Result<bool, Failure> {
    let mut damaged = false;
    for point in points {
        let mut has_heading = false;
        let mut see = |path: &[u8], entry: &Entry| {
            if !pattern.matches(path, entry) {
                return true;
            }
            if !has_heading {
                let time = render::local_time(point.summary.started_s);
                list.heading(&format!("{}  {time}:", short(&point.id)));
                has_heading = true;
            }
            let document = || MatchDocument {
                entry: EntryDocument::new(path, entry),
                point: point.id,
            };
            list.item(|| entry_line(path, entry), document);
            true
        };
        damaged |= reading::walk(out, session, root(point)?, b"/", &mut see).await?;
    }
    Ok(damaged)
}

/// What is looked for.
struct Pattern {
    glob: GlobMatcher,
    /// Whether the pattern is for the whole path, and not for the name.
    by_path: bool,
}

impl Pattern {
    /// In a pattern for paths, `*` stays within a folder and `**` does not.
    fn new(pattern: &str, ignore_case: bool) -> Result<Pattern, Failure> {
        let glob = GlobBuilder::new(pattern)
            .literal_separator(true)
            .backslash_escape(true)
            .case_insensitive(ignore_case)
            .build()
            .map_err(|error| {
                let message = format!("{pattern:?} is not a pattern: {}", error.kind());
                Failure::usage(message, "a pattern may hold `*`, `?`, `[a-z]`, `{a,b}` and `**`")
            })?;
        Ok(Pattern {
            glob: glob.compile_matcher(),
            by_path: pattern.contains('/'),
        })
    }

    fn matches(&self, path: &[u8], entry: &Entry) -> bool {
        let text = if self.by_path { path } else { &entry.name[..] };
        self.glob.is_match_candidate(&Candidate::from_bytes(text))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn named(name: &[u8]) -> Entry {
        Entry {
            name: name.to_vec().into(),
            ..Entry::default()
        }
    }

    #[test]
    fn patterns_find_names_of_any_bytes() {
        let pattern = Pattern::new("*.conf", false).unwrap();
        assert!(pattern.matches(b"/", &named(b"a\xff.conf")));
        assert!(!pattern.matches(b"/", &named(b"a.CONF")));
        assert!(Pattern::new("*.conf", true).unwrap().matches(b"/", &named(b"a.CONF")));
        assert!(Pattern::new("[", false).is_err());
    }

    #[test]
    fn a_pattern_with_a_slash_is_for_the_whole_path() {
        let pattern = Pattern::new("/etc/**/*.conf", false).unwrap();
        assert!(pattern.matches(b"/etc/a/b.conf", &named(b"b.conf")));
        assert!(!pattern.matches(b"/srv/a/b.conf", &named(b"b.conf")));
        assert!(
            !Pattern::new("/etc/*", false)
                .unwrap()
                .matches(b"/etc/a/b", &named(b"b"))
        );
    }
}
