//! From an order to the sources of the pipeline: each path resolved, each with its rules.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lockstone_actors::{BackupSource, Producer, SourceFrom};
use lockstone_host::boundaries::Boundaries;
use lockstone_host::walk::{MAX_MARKERS, Rules};

use super::order::{BackupOrder, SourceOptions, What};
use super::produced::{FromStdin, Printed};
use crate::agent::environment::Environment;
use crate::agent::sources::{self, Nested, Sources};
use crate::agent::state::folder::StateFolder;
use crate::agent::state::registration::Registration;
use crate::agent::system_state;
use crate::agent::volumes::{Survey, Volumes};
use crate::failure::Failure;
use crate::text::render;

/// The folders of a recovery point that hold what is on no disk.
const COMMANDS: &str = "/commands";
const STDIN: &str = "/stdin";
/// The longest name of a file that Linux knows, in bytes.
const MAX_NAME_LEN: usize = 255;

/// What the pipeline will take, and what the user should know about it.
pub(super) struct Plan {
    pub(super) sources: Vec<BackupSource>,
    /// The rules with all patterns.
    pub(super) rules: Rules,
    /// Paths and messages for the recovery point.
    pub(super) warnings: Vec<(PathBuf, String)>,
    /// What the user is told, and the recovery point does not count.
    pub(super) notes: Vec<String>,
    /// The volumes that are backed up although they are not eligible.
    pub(super) allowed_volumes: Vec<PathBuf>,
}

/// Checks the order, and makes the sources of it.
pub(super) fn plan(
    environment: &Environment,
    order: &BackupOrder,
    state: &StateFolder,
    registration: &Registration,
) -> Result<Plan, Failure> {
    let (named, mut options) = paths_of(order);
    let resolved = sources::resolve(&named)?;
    let entered = nested(&resolved, &named, &mut options)?;
    let rules = rules(environment, order, state, registration, &resolved.paths)?;
    let volumes = Volumes::look(&order.allow_volumes);
    let mut plan = Plan {
        sources: Vec::new(),
        rules,
        warnings: resolved.warnings,
        notes: Vec::new(),
        allowed_volumes: Vec::new(),
    };
    for (path, index) in resolved.paths.iter().zip(&resolved.named) {
        let (options, _) = options[*index];
        let Survey {
            shut,
            allowed,
            temporary,
            note,
        } = volumes.survey(path, options.one_file_system)?;
        plan.allowed_volumes.extend(allowed);
        plan.notes.extend(note);
        let mut rules = plan.rules.clone();
        rules.honour_cachedir_tag = !options.include_caches;
        rules.boundaries = Boundaries {
            one_file_system: options.one_file_system,
            entered: entered
                .iter()
                .filter(|mount| mount.starts_with(path))
                .cloned()
                .collect(),
            shut,
        };
        plan.sources.push(BackupSource {
            path: path.clone(),
            from: SourceFrom::Path(options.snapshot),
            rules,
            temporary,
        });
    }
    for nested in &resolved.nested {
        // What was named must be eligible, also where it is backed up as a part of another source.
        let survey = volumes.survey(&nested.path, true)?;
        plan.allowed_volumes.extend(survey.allowed);
        plan.notes.extend(survey.note);
    }
    plan.allowed_volumes.sort();
    plan.allowed_volumes.dedup();
    let made = made(order, state)?;
    keep_apart(&plan.sources, &made)?;
    plan.sources.extend(made);
    Ok(plan)
}

/// The paths of the order, and beside each its options and whether it only describes the system.
fn paths_of(order: &BackupOrder) -> (Vec<PathBuf>, Vec<(SourceOptions, bool)>) {
    let mut paths = Vec::new();
    let mut options = Vec::new();
    for source in &order.sources {
        match &source.what {
            What::Path(path) => {
                paths.push(path.clone());
                options.push((source.options, false));
            }
            What::SystemState { .. } => {
                for folder in system_state::FOLDERS
                    .iter()
                    .map(Path::new)
                    .filter(|folder| folder.is_dir())
                {
                    paths.push(folder.to_owned());
                    options.push((source.options, true));
                }
            }
            What::Command { .. } | What::Stdin(_) => {}
        }
    }
    (paths, options)
}

/// What becomes of paths that lie in others: they are backed up once, with the options of both. Returns the mount
/// points that a source enters although it stays on its file system, because they were named, too.
fn nested(
    resolved: &Sources,
    named: &[PathBuf],
    options: &mut [(SourceOptions, bool)],
) -> Result<Vec<PathBuf>, Failure> {
    let mut entered = Vec::new();
    for Nested { path, inner, outer } in &resolved.nested {
        let ((inner_options, inner_is_system), (outer_options, outer_is_system)) = (options[*inner], options[*outer]);
        let one_of_system = inner_is_system || outer_is_system;
        if inner_options != outer_options && !one_of_system {
            let show = |index: usize| render::name(named[index].as_os_str().as_encoded_bytes());
            return Err(Failure::usage(
                format!(
                    "{} lies within {}, and their options differ",
                    show(*inner),
                    show(*outer)
                ),
                "give both the same one_file_system, include_caches and snapshot, or leave one of them out",
            ));
        }
        if outer_is_system && !inner_is_system {
            // The options of what the user named count.
            options[*outer].0 = inner_options;
        }
        if options[*outer].0.one_file_system && !sources::is_on_file_system_of(path, &named[*outer]) {
            if !sources::is_mount_point(path) {
                return Err(Failure::usage(
                    format!(
                        "{} lies on another file system than {}, which is to be backed up alone",
                        render::name(path.as_os_str().as_encoded_bytes()),
                        render::name(named[*outer].as_os_str().as_encoded_bytes())
                    ),
                    "name the mount point that it is on, or leave out `--one-file-system`",
                ));
            }
            entered.push(path.clone());
        }
    }
    Ok(entered)
}

/// What is left out: what the order says, and this program's own folders.
fn rules(
    environment: &Environment,
    order: &BackupOrder,
    state: &StateFolder,
    registration: &Registration,
    paths: &[PathBuf],
) -> Result<Rules, Failure> {
    let mut rules = Rules::new(&order.exclude).map_err(|error| {
        let hint = "globs are written as in a .gitignore, such as '*.tmp' or '**/node_modules'";
        Failure::usage(error.to_string(), hint)
    })?;
    rules.max_size = order.exclude_larger_than;
    let markers = &order.exclude_if_present;
    if markers.len() > MAX_MARKERS || markers.iter().any(|name| name.is_empty() || name.contains('/')) {
        let message = format!("`--exclude-if-present` takes up to {MAX_MARKERS} names of files, without slashes");
        return Err(Failure::usage(message, ""));
    }
    rules.markers = markers.iter().map(|name| name.clone().into_bytes()).collect();
    let cache = registration.cache_folder(state);
    let vault = environment.store(&registration.vault_url)?;
    let mut own: Vec<(&str, &Path)> = vec![("the state folder", state.root()), ("the cache folder", &cache)];
    if let Some(old) = &registration.old_cache {
        own.push(("the cache folder of before its move", old));
    }
    if let Some(vault) = vault.local_root() {
        own.insert(0, ("the vault", vault));
    }
    // The walk warns about each of these folders when it comes to it.
    for folder in sources::keep_out(paths, &own)? {
        rules.exclude_folder(folder);
    }
    Ok(rules)
}

/// The sources that are on no disk, or that are written for this backup.
fn made(order: &BackupOrder, state: &StateFolder) -> Result<Vec<BackupSource>, Failure> {
    let mut made = Vec::new();
    let mut taken = HashSet::new();
    for source in &order.sources {
        let (path, from) = match &source.what {
            What::Path(_) => continue,
            What::Command {
                name,
                command,
                required,
            } => {
                let producer: Arc<dyn Producer> = Arc::new(Printed {
                    command: command.clone(),
                    required: *required,
                });
                (
                    Path::new(COMMANDS).join(file_name(name)?),
                    SourceFrom::Producer(producer),
                )
            }
            What::Stdin(name) => {
                let producer: Arc<dyn Producer> = Arc::new(FromStdin::default());
                (Path::new(STDIN).join(file_name(name)?), SourceFrom::Producer(producer))
            }
            What::SystemState { .. } => {
                let written = SourceFrom::Made(system_state::folder(state.root()));
                (PathBuf::from(system_state::PATH), written)
            }
        };
        if !taken.insert(path.clone()) {
            let message = format!("there are two items with the name {}", path.display());
            return Err(Failure::usage(message, "give each a name of its own"));
        }
        made.push(BackupSource {
            path,
            from,
            rules: Rules::default(),
            temporary: false,
        });
    }
    Ok(made)
}

/// A name that a file can have.
fn file_name(name: &str) -> Result<&str, Failure> {
    let is_bad = name.is_empty() || name == "." || name == ".." || name.len() > MAX_NAME_LEN;
    if is_bad || name.contains(['/', '\0']) {
        let message = format!("{name:?} cannot be the name of a file");
        return Err(Failure::usage(message, "a name has no slash, and at most 255 bytes"));
    }
    Ok(name)
}

/// Fails if the place of a made source in the recovery point is also that of something on this server.
fn keep_apart(on_disk: &[BackupSource], made: &[BackupSource]) -> Result<(), Failure> {
    for made in made {
        let Some(top) = made.path.ancestors().filter(|path| path.parent().is_some()).last() else {
            continue;
        };
        let takes_top = |source: &BackupSource| source.path.starts_with(top) || top.starts_with(&source.path);
        if top.symlink_metadata().is_ok() && on_disk.iter().any(takes_top) {
            let top = top.display();
            return Err(Failure::failed(
                "failed",
                format!(
                    "{top} on this server has the place in the recovery point that {} needs",
                    made.path.display()
                ),
                format!("rename {top}, or back up the two in separate runs"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn source(path: &str) -> BackupSource {
        BackupSource {
            path: path.into(),
            from: SourceFrom::Path(lockstone_host::snapshot::SnapshotMode::Off),
            rules: Rules::default(),
            temporary: false,
        }
    }

    #[test]
    fn what_is_made_never_takes_the_place_of_what_is_there() {
        // `/etc` is on every server.
        assert!(keep_apart(&[source("/etc/ssh")], &[source("/etc/dump")]).is_err());
        assert!(keep_apart(&[source("/")], &[source("/etc/dump")]).is_err());
        assert!(keep_apart(&[source("/usr")], &[source("/etc/dump")]).is_ok());
        assert!(keep_apart(&[source("/")], &[source("/no such folder/dump")]).is_ok());
    }

    #[test]
    fn only_names_of_files_are_names() {
        for bad in ["", ".", "..", "a/b", "a\0", &"x".repeat(256)] {
            assert!(file_name(bad).is_err(), "{bad}");
        }
        assert_eq!(file_name("db.sql").unwrap(), "db.sql");
    }
}
