//! `lockstone points ls`, `find` and `diff`: looking into recovery points without restoring them. Results are written as
//! they are found.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use globset::{Candidate, GlobBuilder, GlobMatcher};
use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::{Entry, EntryKind};
use lockstone_vault::VaultError;
use lockstone_vault::log::Point;
use lockstone_vault::points::{self, Change, TreeWalk, Walked, folder_page};
use serde_json::{Map, Value, json};

use super::points::reading_exit;
use crate::agent::access::paths::{find_path, root};
use crate::agent::access::session::Session;
use crate::cli::access::AccessArgs;
use crate::cli::context::Context;
use crate::cli::output::{List, Outcome};
use crate::failure::{Exit, Failure};
use crate::text::point::short;
use crate::text::render;

/// Options of `points ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Recovery point: an id, a unique prefix of 6 or more digits, or `latest`
    pub(crate) point: String,
    /// Files and folders to list; the sources of the point otherwise
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// List everything below, too
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// Options of `points diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The recovery point to start from
    #[arg(value_name = "POINT")]
    pub(crate) old: String,
    /// The recovery point to compare with it
    #[arg(value_name = "POINT")]
    pub(crate) new: String,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// Options of `points find`.
#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    /// A glob for the name (`*.conf`), or for the whole path where it holds a slash (`/etc/**/*.conf`)
    pub(crate) pattern: String,
    /// Look only into this recovery point; into all of this server otherwise
    #[arg(long)]
    pub(crate) point: Option<String>,
    /// Capital letters and small ones are the same
    #[arg(short, long)]
    pub(crate) ignore_case: bool,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// A word for an entry's type.
fn kind_word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Folder => "folder",
        EntryKind::Symlink => "symlink",
        EntryKind::Fifo => "fifo",
        EntryKind::CharDevice => "char-device",
        EntryKind::BlockDevice => "block-device",
        EntryKind::Unspecified => "unknown",
    }
}

/// An entry for scripts.
fn entry_value(path: &[u8], entry: &Entry) -> Map<String, Value> {
    let mut value = Map::new();
    render::put_path(&mut value, path);
    value.insert("type".to_owned(), json!(kind_word(entry.kind())));
    value.insert("size".to_owned(), json!(entry.size));
    value.insert("mode".to_owned(), json!(entry.mode));
    value.insert(
        "mtime".to_owned(),
        json!(render::utc_time(entry.mtime_s, entry.mtime_ns)),
    );
    value.insert("uid".to_owned(), json!(entry.uid));
    value.insert("gid".to_owned(), json!(entry.gid));
    value.insert("user".to_owned(), render::lossy(&entry.user));
    value.insert("group".to_owned(), render::lossy(&entry.group));
    if !entry.link_target.is_empty() {
        value.insert("target".to_owned(), render::lossy(&entry.link_target));
    }
    if entry.links > 1 {
        value.insert("links".to_owned(), json!(entry.links));
    }
    if !entry.xattrs.is_empty() {
        value.insert(
            "xattrs".to_owned(),
            entry.xattrs.iter().map(|xattr| render::lossy(&xattr.name)).collect(),
        );
    }
    value
}

/// An entry for people, as `ls -l` has it.
fn entry_line(path: &[u8], entry: &Entry) -> String {
    let letter = match entry.kind() {
        EntryKind::Folder => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::Fifo => 'p',
        EntryKind::CharDevice => 'c',
        EntryKind::BlockDevice => 'b',
        EntryKind::File | EntryKind::Unspecified => '-',
    };
    let owner = |name: &[u8], id: u32| {
        if name.is_empty() {
            id.to_string()
        } else {
            render::name(name)
        }
    };
    let size = match entry.kind() {
        EntryKind::CharDevice | EntryKind::BlockDevice => format!("{}, {}", entry.rdev_major, entry.rdev_minor),
        _ => render::count(entry.size),
    };
    let target = if entry.kind() == EntryKind::Symlink {
        format!(" -> {}", render::name(&entry.link_target))
    } else {
        String::new()
    };
    format!(
        "{} {:<8} {:<8} {size:>14} {} {}{target}",
        render::mode(letter, entry.mode),
        owner(&entry.user, entry.uid),
        owner(&entry.group, entry.gid),
        render::local_time(entry.mtime_s),
        render::name(path),
    )
}

/// Walks what lies below a folder and calls `see` with each entry; where that says false, a folder is not entered.
/// Damaged pages are said on stderr, and cost only what lies below them. Says whether there were any.
fn walk(
    context: &Context,
    session: &Session,
    page: Option<ChunkId>,
    path: &[u8],
    see: &mut dyn FnMut(&[u8], &Entry) -> bool,
) -> Result<bool, VaultError> {
    let mut damaged = false;
    let base = if path == b"/" { Vec::new() } else { path.to_vec() };
    context.block_on(async {
        let mut walk = TreeWalk::new(&*session.domain, page, base);
        while let Some(walked) = walk.next().await? {
            match walked {
                Walked::Entry { path, entry } => {
                    if !see(&path, &entry) {
                        walk.skip_folder();
                    }
                }
                Walked::Damaged { path, error } => {
                    damaged = true;
                    context
                        .out
                        .warn(format!("{} cannot be read: {error}", render::name(&path)));
                }
                Walked::Leave { .. } => {}
            }
        }
        Ok(damaged)
    })
}

fn worst(exit: Exit, damaged: bool) -> Exit {
    if damaged { Exit::Damaged } else { exit }
}

fn list_entry(list: &mut List, path: &[u8], entry: &Entry) {
    list.item(|| entry_line(path, entry), || Value::Object(entry_value(path, entry)));
}

/// Runs `points ls`.
///
/// # Errors
/// What failed, in words, with its exit code.
pub(crate) fn ls(context: &Context, args: &LsArgs) -> Outcome {
    let session = context.block_on(Session::to_read(&context.environment, &args.access.access()))?;
    let view = context.block_on(session.view(&context.environment))?;
    let point = session.point(&view, &args.point)?;
    let mut asked = args.paths.clone();
    if asked.is_empty() {
        use std::os::unix::ffi::OsStrExt;
        asked.extend(
            point
                .body
                .sources
                .iter()
                .map(|source| PathBuf::from(std::ffi::OsStr::from_bytes(source))),
        );
    }
    // All of them are found before anything is listed.
    let mut wanted = Vec::new();
    for path in &asked {
        let (path, entry) = context.block_on(find_path(&session, point, path))?;
        let page = match &entry {
            None => root(point)?,
            Some(entry) => folder_page(entry),
        };
        wanted.push((path, entry, page));
    }
    let headings = wanted.len() > 1 && !args.recursive;
    let mut damaged = false;
    let mut list = context.out.list("entries");
    for (path, entry, page) in wanted {
        match entry {
            Some(entry) if entry.kind() != EntryKind::Folder => list_entry(&mut list, &path, &entry),
            _ => {
                if headings {
                    list.heading(&format!("{}:", render::name(&path)));
                }
                let walked = walk(context, &session, page, &path, &mut |path, entry| {
                    list_entry(&mut list, path, entry);
                    args.recursive
                });
                match walked {
                    Ok(more) => damaged |= more,
                    Err(error) => return Ok(list.fail(&error.into())),
                }
            }
        }
    }
    list.end(&Map::from_iter([("point".to_owned(), json!(point.id))]));
    Ok(worst(reading_exit(&view), damaged))
}

/// Runs `points diff`.
///
/// # Errors
/// What failed, in words, with its exit code.
pub(crate) fn diff(context: &Context, args: &DiffArgs) -> Outcome {
    let session = context.block_on(Session::to_read(&context.environment, &args.access.access()))?;
    let view = context.block_on(session.view(&context.environment))?;
    let (old, new) = (session.point(&view, &args.old)?, session.point(&view, &args.new)?);
    let (old_root, new_root) = (root(old)?, root(new)?);
    let mut list = context.out.list("changes");
    let mut counts = [0_u64; 4];
    let tree = &*session.domain;
    let mut see = |path: &[u8], change: Change, old: Option<&Entry>, new: Option<&Entry>| {
        let (place, letter, word) = match change {
            Change::Added => (0, '+', "added"),
            Change::Removed => (1, '-', "removed"),
            Change::Modified => (2, 'M', "modified"),
            Change::Metadata => (3, 'U', "metadata"),
        };
        counts[place] += 1;
        let kind = new.or(old).map_or(EntryKind::Unspecified, Entry::kind);
        let slash = if kind == EntryKind::Folder { "/" } else { "" };
        list.item(
            || format!("{letter} {}{slash}", render::name(path)),
            || {
                let mut value = Map::new();
                render::put_path(&mut value, path);
                value.insert("change".to_owned(), json!(word));
                value.insert("type".to_owned(), json!(kind_word(kind)));
                Value::Object(value)
            },
        );
        ControlFlow::Continue(())
    };
    let compared = points::diff((tree, old_root), (tree, new_root), &mut see);
    if let Err(error) = context.block_on(compared) {
        return Ok(list.fail(&error.into()));
    }
    list.heading(&format!(
        "{} added, {} removed, {} modified, {} with other metadata",
        render::count(counts[0]),
        render::count(counts[1]),
        render::count(counts[2]),
        render::count(counts[3])
    ));
    list.end(&Map::new());
    Ok(reading_exit(&view))
}

/// Runs `points find`.
///
/// # Errors
/// What failed, in words, with its exit code.
pub(crate) fn find(context: &Context, args: &FindArgs) -> Outcome {
    let glob = matcher(&args.pattern, args.ignore_case)?;
    let by_path = args.pattern.contains('/');
    let session = context.block_on(Session::to_read(&context.environment, &args.access.access()))?;
    let view = context.block_on(session.view(&context.environment))?;
    let chosen: Vec<&Point> = match &args.point {
        Some(name) => vec![session.point(&view, name)?],
        None => view
            .points
            .iter()
            .rev()
            .filter(|p| session.is_own(p.server) && p.forgotten.is_none())
            .collect(),
    };
    let mut list = context.out.list("matches");
    let mut damaged = false;
    for point in chosen {
        let mut said = false;
        let page = root(point)?;
        let walked = walk(context, &session, page, b"/", &mut |path, entry| {
            let text = if by_path { path } else { &entry.name[..] };
            if !glob.is_match_candidate(&Candidate::from_bytes(text)) {
                return true;
            }
            if !said {
                let time = render::local_time(point.summary.started_s);
                list.heading(&format!("{}  {time}:", short(&point.id)));
                said = true;
            }
            list.item(
                || entry_line(path, entry),
                || {
                    let mut value = entry_value(path, entry);
                    value.insert("point".to_owned(), json!(point.id));
                    Value::Object(value)
                },
            );
            true
        });
        match walked {
            Ok(more) => damaged |= more,
            Err(error) => return Ok(list.fail(&error.into())),
        }
    }
    if list.is_empty() {
        list.heading("nothing found");
    }
    list.end(&Map::new());
    Ok(worst(reading_exit(&view), damaged))
}

/// In a path `*` stays within a folder and `**` does not; in a name there is no slash to stop at.
fn matcher(pattern: &str, ignore_case: bool) -> Result<GlobMatcher, Failure> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .case_insensitive(ignore_case)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| {
            Failure::usage(
                format!("{pattern:?} is no pattern: {}", error.kind()),
                "*, ?, [a-z], {a,b}, **",
            )
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_names_of_any_bytes() {
        let glob = matcher("*.conf", false).unwrap();
        assert!(glob.is_match_candidate(&Candidate::from_bytes(b"a\xff.conf")));
        assert!(!glob.is_match_candidate(&Candidate::from_bytes(b"a.CONF")));
        assert!(matcher("*.conf", true).unwrap().is_match("a.CONF"));
        assert!(matcher("[", false).is_err());
    }

    #[test]
    fn a_line_shows_what_ls_shows() {
        let entry = Entry {
            name: "l".into(),
            kind: EntryKind::Symlink as i32,
            mode: 0o777,
            uid: 7,
            link_target: "to\n".into(),
            ..Entry::default()
        };
        let line = entry_line(b"/l", &entry);
        assert!(
            line.starts_with("lrwxrwxrwx 7 ") && line.ends_with("/l -> to\\n"),
            "{line}"
        );
    }
}
