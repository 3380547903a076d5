//! The terminal that a person types at.

use std::os::fd::AsFd;

use crate::sys;

/// While this lives, the terminal at stderr does not show `^C` where the key is pressed. It would be written into a
/// display that is drawn there, and push its lines up. The key still sends its signal.
#[derive(Debug)]
pub struct NoControlEcho(());

impl NoControlEcho {
    /// `None` if stderr is no terminal, or if it does not show such keys anyway.
    #[must_use]
    pub fn set() -> Option<Self> {
        sys::set_control_echo(std::io::stderr().as_fd(), false).then_some(Self(()))
    }
}

impl Drop for NoControlEcho {
    fn drop(&mut self) {
        restore_control_echo();
    }
}

/// Makes the terminal show control keys again. For a program that ends while a [`NoControlEcho`] lives.
pub fn restore_control_echo() {
    sys::set_control_echo(std::io::stderr().as_fd(), true);
}
