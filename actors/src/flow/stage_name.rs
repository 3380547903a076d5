//! The stages of all jobs, by name: one list for threads, messages, metrics and the display.

/// Declares the stages and their words once.
macro_rules! stages {
    ($($(#[$doc:meta])* $stage:ident = $word:literal,)*) => {
        /// A stage of a job's pipeline. No two stages of one job share a name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum StageName {
            $($(#[$doc])* $stage,)*
        }

        impl StageName {
            /// The words of all stages: the values of the metrics' label `stage`.
            pub(crate) const WORDS: &[&str] = &[$($word),*];

            /// The word used in messages, logs and metrics, and in the names of the stage's threads.
            #[must_use]
            pub(crate) const fn word(self) -> &'static str {
                match self {
                    $(Self::$stage => $word,)*
                }
            }
        }
    };
}

stages! {
    Snapshotter = "snapshotter",
    Enumerator = "enumerator",
    Hasher = "hasher",
    /// Dedup's lane for file content.
    Dedup = "dedup",
    /// Dedup's lane for tree pages.
    TreeDedup = "tree-dedup",
    /// The Sealer's assembler for file content.
    Assembler = "assembler",
    /// The Sealer's assembler for tree pages.
    TreeAssembler = "tree-assembler",
    /// The Sealer's workers, which both lanes share.
    Sealer = "sealer",
    Uploader = "uploader",
    Cataloguer = "cataloguer",
    Bookkeeper = "bookkeeper",
    Planner = "planner",
    Fetcher = "fetcher",
    Opener = "opener",
    Writer = "writer",
    Checker = "checker",
    Collector = "collector",
}

impl std::fmt::Display for StageName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.word())
    }
}
