//! What systemd is told: that the daemon is ready, what it does, and that it is alive. Without systemd nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// Everything is served.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The daemon is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// What the daemon does, in one line.
pub(super) fn status(line: &str) {
    tell(&[NotifyState::Status(line)]);
}

/// The actors still answer.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often systemd wants to hear that the daemon is alive; half of the time after which it would end it.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|within| within / 2)
}
