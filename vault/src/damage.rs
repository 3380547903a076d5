//! Damage: an object of the vault that is missing, cut off, changed or forged, and which points and paths that costs.
//! Restore and check collect damage and go on with what is whole.

use lockstone_proto::ids::PointId;

/// What kind of object is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DamageKind {
    /// `lockstone.json`.
    Descriptor,
    /// A server's registration.
    Registration,
    /// An order of the operator.
    Order,
    /// A job record.
    Job,
    /// A server's policy.
    Policy,
    /// A key slot.
    Slot,
    /// A log entry.
    Log,
    /// An index segment.
    Segment,
    /// A pack.
    Pack,
    /// A page of a folder.
    Page,
    /// A chunk that no readable segment names.
    Chunk,
}

impl DamageKind {
    /// The word for this kind in messages and in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Descriptor => "descriptor",
            Self::Registration => "registration",
            Self::Order => "order",
            Self::Job => "job",
            Self::Policy => "policy",
            Self::Slot => "slot",
            Self::Log => "log",
            Self::Segment => "segment",
            Self::Pack => "pack",
            Self::Page => "page",
            Self::Chunk => "chunk",
        }
    }
}

/// A damaged object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The object's name in the vault. For a page or a chunk, its id.
    pub object: String,
    /// What kind of object it is.
    pub kind: DamageKind,
    /// What is wrong with it.
    pub reason: String,
    /// The recovery points that lost something, oldest first.
    pub points: Vec<PointId>,
    /// Files and folders of those points that cannot be restored whole: absolute paths, raw bytes, at most `PATHS_MAX`.
    pub paths: Vec<Vec<u8>>,
}

/// The most paths that one damage lists.
pub const PATHS_MAX: usize = 1000;

impl Damage {
    /// Damage to an object. Which points and paths it costs is not known yet.
    pub(crate) fn new(kind: DamageKind, object: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self {
            object: object.into(),
            kind,
            reason: reason.to_string(),
            points: Vec::new(),
            paths: Vec::new(),
        }
    }

    /// One line for a person: kind, object and reason.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}: {}", self.kind.name(), self.object, self.reason)
    }
}
