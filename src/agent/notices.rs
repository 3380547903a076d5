//! What an operation has to say while it works. The agent does not print: it hands notices to whoever called it.

use lockstone_vault::damage::Damage;

/// One thing to say to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Worth knowing.
    Note(String),
    /// Deserves a look.
    Warning(String),
}

/// Takes notices as they come.
pub(crate) trait Notices: Send + Sync {
    fn give(&self, notice: Notice);

    fn note(&self, text: String) {
        self.give(Notice::Note(text));
    }

    fn warn(&self, text: String) {
        self.give(Notice::Warning(text));
    }

    /// Warns that something in the vault is damaged.
    fn damaged(&self, damage: &Damage) {
        self.warn(format!("the vault is damaged: {}: {}", damage.object, damage.reason));
    }
}
