//! The terminal that a person types at.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys;

/// Whether this process has changed the terminal and has to change it back.
static CHANGED: AtomicBool = AtomicBool::new(false);

/// While this lives, the terminal at stderr does not show `^C` where the key is pressed. It would be written into a
/// display that is drawn there, and push its lines up. The key still sends its signal.
#[derive(Debug)]
pub struct NoControlEcho(());

impl NoControlEcho {
    /// `None` if stderr is no terminal, if it is the terminal of another program now, or if it does not show such keys
    /// anyway.
    #[must_use]
    pub fn set() -> Option<Self> {
        let stderr = std::io::stderr();
        let changed = sys::is_in_foreground(stderr.as_fd()) && sys::set_control_echo(stderr.as_fd(), false);
        changed.then(|| {
            CHANGED.store(true, Ordering::SeqCst);
            Self(())
        })
    }
}

impl Drop for NoControlEcho {
    fn drop(&mut self) {
        restore_control_echo();
    }
}

/// Makes the terminal show control keys again, if this process has changed that. For a program that ends while a
/// [`NoControlEcho`] lives.
pub fn restore_control_echo() {
    if CHANGED.swap(false, Ordering::SeqCst) {
        sys::set_control_echo(std::io::stderr().as_fd(), true);
    }
}
