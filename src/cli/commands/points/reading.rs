//! What the commands share that read recovery points.

use std::sync::Arc;

use lockstone_proto::ids::ChunkId;
use lockstone_proto::vault::Entry;
use lockstone_vault::VaultError;
use lockstone_vault::log::LogView;
use lockstone_vault::points::{TreeWalk, Walked};

use crate::agent::access::session::Session;
use crate::cli::access::AccessArgs;
use crate::cli::context::Context;
use crate::cli::output::{Output, so_far};
use crate::failure::{Exit, Failure};
use crate::text::render;

/// Opens the vault to read from it, with the log as it is now.
pub(super) fn open(context: &Context, access: &AccessArgs) -> Result<(Session, Arc<LogView>), Failure> {
    context.block_on(async {
        let session = Session::to_read(&context.environment, &access.access()).await?;
        let view = session.view(&context.environment).await?;
        Ok((session, view))
    })
}

/// The exit code of a command that only read. Damage in the vault is a warning. A log that cannot be read to its end
/// is worse, because there may be points that are not seen.
pub(super) fn exit(view: &LogView, damaged_pages: bool) -> Exit {
    match (view.log_damaged || damaged_pages, view.damage.is_empty()) {
        (true, _) => Exit::Damaged,
        (false, false) => Exit::Warnings,
        (false, true) => Exit::Done,
    }
}

/// Walks everything below a folder and calls `see` with each entry. If `see` returns false for a folder, the walk does
/// not enter it. A damaged page is a warning, and costs only what is below it. Returns whether there was any.
pub(super) async fn walk(
    out: &Output,
    session: &Session,
    page: Option<ChunkId>,
    path: &[u8],
    see: &mut dyn FnMut(&[u8], &Entry) -> bool,
) -> Result<bool, VaultError> {
    let mut damaged = false;
    let base = if path == b"/" { Vec::new() } else { path.to_vec() };
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
                so_far(Exit::Damaged);
                out.warn(format!("{} cannot be read: {error}", render::name(&path)));
            }
            Walked::Leave { .. } => {}
        }
    }
    Ok(damaged)
}
