//! The rules on which safety rests. Each can be left out, to show that the checker then finds a history that loses
//! data.

/// A rule that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A Commit is refused if a pack in which the backup found chunks was condemned.
    ReliedPacksAreChecked,
    /// A Commit is refused if the backup's own pack was condemned: while no segment listed it, it was an orphan.
    OwnPacksAreChecked,
    /// A Commit is refused if a point from which it took chunks over is gone.
    ParentsAreChecked,
    /// A Condemn and a Repack are written only by who has read the log to its end.
    HeadIsUnchanged,
    /// Points that came, or came back, while a collector worked are marked before it writes.
    NewRootsAreMarked,
    /// A mark in a pack that somebody else condemned is made again in another pack.
    LostMarksAreMadeAgain,
    /// A pack is deleted only after the log condemned it.
    CondemnedBeforeDeleted,
    /// A point that is gone is not brought back.
    GoneIsFinal,
    /// What forgotten points need is kept until the log says that they are gone.
    ForgottenPointsAreRoots,
    /// A Repack is planned only after the Condemn that names the points that are gone.
    GoneBeforeRepack,
    /// A Repack is given up if its new pack was condemned: while no segment listed it, it was an orphan.
    NewPacksAreChecked,
    /// A pack stays out of a Repack if a chunk in it is marked that is not in the new pack.
    UncopiedPacksStay,
    /// A pack that no segment listed is condemned only if no root needs it when the entry is written.
    OrphansAreMarked,
    /// A restore that does not find a chunk reads the log again.
    ReadersReadAgain,
}

impl Rule {
    pub(crate) const ALL: [Self; 14] = [
        Self::ReliedPacksAreChecked,
        Self::OwnPacksAreChecked,
        Self::ParentsAreChecked,
        Self::HeadIsUnchanged,
        Self::NewRootsAreMarked,
        Self::LostMarksAreMadeAgain,
        Self::CondemnedBeforeDeleted,
        Self::GoneIsFinal,
        Self::ForgottenPointsAreRoots,
        Self::GoneBeforeRepack,
        Self::NewPacksAreChecked,
        Self::UncopiedPacksStay,
        Self::OrphansAreMarked,
        Self::ReadersReadAgain,
    ];
}
