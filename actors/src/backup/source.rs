//! What a backup takes: files and folders, folders that the caller made, and what producers give.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use lockstone_host::snapshot::SnapshotMode;
use lockstone_host::walk::Rules;

/// A source of a backup.
#[derive(Clone)]
pub struct BackupSource {
    /// Its absolute path in the recovery point. For files and folders of the server it is their path there, without
    /// symlinks in it.
    pub path: PathBuf,
    /// Where its content comes from.
    pub from: SourceFrom,
    /// What is left out of it.
    pub rules: Rules,
    /// It lies on temporary storage. If it has no files now and had some before, the backup fails.
    pub temporary: bool,
}

/// Where the content of a source comes from.
#[derive(Clone)]
pub enum SourceFrom {
    /// From the file or folder of this path, frozen as the mode says.
    Path(SnapshotMode),
    /// From another folder, which the caller filled for this backup.
    Made(PathBuf),
    /// From a producer, as one file.
    Producer(Arc<dyn Producer>),
}

impl SourceFrom {
    /// Whether the content was made for the backup, so that nothing of it is at the source's path.
    #[must_use]
    pub fn is_made(&self) -> bool {
        !matches!(self, Self::Path(_))
    }
}

/// Gives the content of a file that is not on a disk: a program that prints it, or standard input.
pub trait Producer: Send + Sync {
    /// Begins to give the content, from its start. Called once for each generation.
    ///
    /// # Errors
    /// Why it cannot.
    fn start(&self) -> Result<Box<dyn Production>, String>;

    /// Whether the backup fails if the producer does. If not, the file is left out with a warning.
    fn is_required(&self) -> bool;

    /// What to do if it fails.
    fn hint(&self) -> String;
}

/// Content on its way. Dropping it ends its program.
pub trait Production: Send {
    /// The content. Reading blocks until there is some. Asked for once.
    fn output(&mut self) -> Box<dyn Read + Send>;

    /// How it ended, after the output has ended: `Err` says why the content is not good. `None`: it has not ended yet.
    fn ended(&mut self) -> Option<Result<(), String>>;
}
