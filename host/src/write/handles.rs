//! The handles of a restore's folders and files. Like the byte budget, they have a limit that depends on settings and
//! not on the tree. A [`Slot`] belongs to one folder or file and holds its handle while that is open. When more handles
//! are open than the limit allows, those that were not used for longest are closed; their owners open them again when
//! they need them. Nothing ever waits for a handle, so there is no order in which threads could block each other.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};

use crate::stat::Stat;

/// How many handles of folders and files may be open at once. Clones share it.
#[derive(Debug, Clone)]
pub struct Handles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    /// The open slots, and some that are gone. The one to be closed next comes first.
    queue: VecDeque<Weak<Slot>>,
}

/// The fewest handles with which a restore works: its threads each use one or two at a time.
const LIMIT_MIN: usize = 32;

impl Handles {
    /// At most `limit` handles, apart from those that are in use at the moment.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let shared = Shared {
            limit: limit.max(LIMIT_MIN),
            state: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// What is left of this process's limit of open files when `reserve` of them are needed for other things.
    #[must_use]
    pub fn of_this_process(reserve: usize) -> Self {
        let limit = usize::try_from(crate::process::open_files_limit()).unwrap_or(usize::MAX);
        // With a very low limit, the reserve gets its half.
        Self::new(limit.saturating_sub(reserve).max(limit / 2))
    }

    /// How many handles are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.state().open
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a handle that was opened, and closes others if there are too many.
    fn opened(&self, slot: &Arc<Slot>) {
        // Dropped last: dropping a slot takes the lock.
        let mut unlocked = Vec::new();
        let mut state = self.state();
        state.open += 1;
        state.queue.push_back(Arc::downgrade(slot));
        let mut looked = 0;
        while state.open > self.shared.limit && looked < state.queue.len() * 2 {
            looked += 1;
            let Some(first) = state.queue.pop_front() else { break };
            let Some(candidate) = first.upgrade() else { continue };
            match candidate.close() {
                Closed::Now => state.open -= 1,
                Closed::Before => {}
                Closed::InUse => state.queue.push_back(first),
            }
            unlocked.push(candidate);
        }
        // Those that are gone are few, so this is rarely done.
        if state.queue.len() > state.open * 2 + 64 {
            state.queue.retain(|slot| slot.strong_count() > 0);
        }
        drop(state);
    }
}

enum Closed {
    Now,
    Before,
    InUse,
}

/// The place of one handle.
#[derive(Debug)]
pub(super) struct Slot {
    handles: Handles,
    handle: Mutex<Option<Arc<OwnedFd>>>,
    /// It was used since it was last considered for closing.
    used: AtomicBool,
    /// Device and inode of what was open when it was closed for the first time.
    identity: OnceLock<(u64, u64)>,
}

impl Slot {
    /// A slot with an open handle.
    pub(super) fn holding(handles: &Handles, handle: OwnedFd) -> Arc<Self> {
        let slot = Arc::new(Self {
            handles: handles.clone(),
            handle: Mutex::new(Some(Arc::new(handle))),
            used: AtomicBool::new(true),
            identity: OnceLock::new(),
        });
        handles.opened(&slot);
        slot
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<OwnedFd>>> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle, if it is open.
    pub(super) fn if_open(&self) -> Option<Arc<OwnedFd>> {
        let handle = self.lock().clone()?;
        self.used.store(true, Ordering::Relaxed);
        Some(handle)
    }

    /// The handle. If it was closed, `open` opens it again; what it opens must be the same folder or file as before.
    pub(super) fn get(self: &Arc<Self>, open: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<Arc<OwnedFd>> {
        self.used.store(true, Ordering::Relaxed);
        let mut held = self.lock();
        if let Some(handle) = &*held {
            return Ok(Arc::clone(handle));
        }
        let handle = Arc::new(open()?);
        if self.identity.get() != Some(&identity_of(&handle)?) {
            return Err(io::Error::other("something else has taken its place meanwhile"));
        }
        *held = Some(Arc::clone(&handle));
        drop(held);
        self.handles.opened(self);
        Ok(handle)
    }

    fn close(&self) -> Closed {
        let mut held = match self.handle.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Closed::InUse,
        };
        let Some(handle) = &*held else { return Closed::Before };
        if Arc::strong_count(handle) > 1 || self.used.swap(false, Ordering::Relaxed) {
            return Closed::InUse;
        }
        let Ok(identity) = identity_of(handle) else {
            return Closed::InUse;
        };
        self.identity.get_or_init(|| identity);
        *held = None;
        Closed::Now
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.lock().is_some() {
            self.handles.state().open -= 1;
        }
    }
}

fn identity_of(handle: &OwnedFd) -> io::Result<(u64, u64)> {
    let stat = Stat::of(handle.as_fd())?;
    Ok((stat.device_raw, stat.inode))
}
