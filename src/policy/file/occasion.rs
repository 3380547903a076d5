//! What alerts are about, and their words.

use std::fmt;

/// What an alert can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Occasion {
    /// A job failed.
    Failure,
    /// A job completed with warnings.
    Warnings,
    /// Recovery points were deleted.
    Deletion,
    /// A scheduled run did not happen.
    Missed,
    /// The cache folder is short of space.
    Cache,
    /// A check found damage in the vault.
    Damage,
    /// A test restore failed, or is overdue.
    Test,
    /// A backup succeeded.
    Success,
}

impl Occasion {
    pub(super) const NAMES: [(&str, Self); 8] = [
        ("failure", Self::Failure),
        ("warnings", Self::Warnings),
        ("deletion", Self::Deletion),
        ("missed", Self::Missed),
        ("cache", Self::Cache),
        ("damage", Self::Damage),
        ("test", Self::Test),
        ("success", Self::Success),
    ];

    /// These are told whatever the policy says.
    pub(super) const ALWAYS: [Self; 4] = [Self::Failure, Self::Deletion, Self::Damage, Self::Test];
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, on)| on == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}
