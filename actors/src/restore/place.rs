//! A folder of the target that is opened or made when something is put into it, and not before. Where only some
//! entries are restored, folders without any are not made.

use std::cell::{OnceCell, RefCell};
use std::sync::Arc;

use lockstone_proto::vault::Entry;

use super::job::RestoreContext;
use super::writer::open_files::FolderOut;
use crate::flow::Stop;

/// A folder of the target.
pub(super) struct Place<'p> {
    above: Option<&'p Place<'p>>,
    /// The folder's entry until it is opened.
    waiting: RefCell<Option<Entry>>,
    /// `None` inside: it was left out, with everything in it.
    opened: OnceCell<Option<Arc<FolderOut>>>,
}

impl<'p> Place<'p> {
    /// A folder that is open.
    pub(super) fn open(folder: Arc<FolderOut>) -> Self {
        Self {
            above: None,
            waiting: RefCell::default(),
            opened: OnceCell::from(Some(folder)),
        }
    }

    /// A folder that waits. It keeps the attributes that it has, like every folder on the way to something.
    pub(super) fn waiting(above: &'p Place<'p>, entry: Entry) -> Self {
        Self {
            above: Some(above),
            waiting: RefCell::new(Some(entry)),
            opened: OnceCell::new(),
        }
    }

    /// The folder. Opens it, and those above it, if that was not done yet. `None`: it is left out.
    pub(super) fn get(&self, context: &RestoreContext) -> Result<Option<Arc<FolderOut>>, Stop> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened.clone());
        }
        let above = match self.above {
            // As deep as the tree.
            Some(above) => stacker::maybe_grow(64 * 1024, 1024 * 1024, || above.get(context))?,
            None => None,
        };
        let entry = self.waiting.take();
        let opened = match above.zip(entry) {
            Some((above, entry)) => context.enter(&above, entry, true)?,
            None => None,
        };
        Ok(self.opened.get_or_init(|| opened).clone())
    }

    /// The folder, if it was opened.
    pub(super) fn into_opened(self) -> Option<Arc<FolderOut>> {
        self.opened.into_inner().flatten()
    }

    /// The folder's path for a message, if it was opened.
    pub(super) fn shown(&self) -> Option<Vec<u8>> {
        let opened = self.opened.get()?.as_ref()?;
        Some(opened.join(b""))
    }
}
