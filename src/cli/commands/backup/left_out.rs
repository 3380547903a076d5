//! Options of `backup` that say what is left out, and what is not although it would be.

use std::path::PathBuf;

use clap::Args;
use lockstone_host::walk::Pattern;

use crate::agent::excludes;
use crate::agent::jobs::backup::BackupOrder;
use crate::agent::state::files::read_text;
use crate::failure::Failure;
use crate::text::units;

/// What is left out.
#[derive(Debug, Args)]
pub(crate) struct LeftOutArgs {
    /// Leave out what matches this glob, written as in a .gitignore (repeatable)
    #[arg(short, long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Leave out what matches the globs in this file, one a line (repeatable)
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_from: Vec<PathBuf>,
    /// Leave out files larger than this, such as 500MiB
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) exclude_larger_than: Option<u64>,
    /// Of a folder that has an entry of this name, keep only that entry (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude_if_present: Vec<String>,
    /// Back up the content of folders marked by a CACHEDIR.TAG, too
    #[arg(long)]
    pub(crate) include_caches: bool,
    /// Stay on the file system of each source
    #[arg(short = 'x', long)]
    pub(crate) one_file_system: bool,
    /// Back up the volume that is mounted here although `lockstone volumes` calls it not eligible (repeatable)
    #[arg(long, value_name = "MOUNT")]
    pub(crate) allow_volume: Vec<PathBuf>,
}

impl LeftOutArgs {
    /// Adds to the order what was said.
    pub(super) fn apply(&self, order: &mut BackupOrder) -> Result<(), Failure> {
        order.exclude.extend(self.patterns()?);
        order.exclude_larger_than = self.exclude_larger_than;
        order.exclude_if_present.clone_from(&self.exclude_if_present);
        for mount in &self.allow_volume {
            // A mount point is known by the path without links.
            let mount = mount.canonicalize().unwrap_or_else(|_| mount.clone());
            order.allow_volumes.push(mount);
        }
        for source in &mut order.sources {
            source.options.include_caches |= self.include_caches;
            source.options.one_file_system |= self.one_file_system;
        }
        Ok(())
    }

    /// The patterns of `--exclude` and those in the files of `--exclude-from`.
    fn patterns(&self) -> Result<Vec<Pattern>, Failure> {
        let from = excludes::Place::here();
        let mut patterns: Vec<Pattern> = self.exclude.iter().map(|text| from.option(text)).collect();
        for file in &self.exclude_from {
            let text = read_text(file).map_err(|error| {
                let message = format!("cannot read {}: {error}", file.display());
                Failure::usage(message, "`--exclude-from` wants a file of globs, one a line")
            })?;
            patterns.extend(from.file(&text));
        }
        Ok(patterns)
    }
}
