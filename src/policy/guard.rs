//! Whether a backup is strange: so many files changed or gone, data that no longer compresses, one new ending on most
//! of what changed. Ransomware does all of this; so does a move to another layout. A guard only asks somebody to look.
//!
//! A pure function of the figures of this backup and of those before it, of the same sources.

/// What a guard has to know of a backup.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) files_new: u64,
    pub(crate) files_changed: u64,
    pub(crate) files_unchanged: u64,
    /// Bytes that the vault did not have, and what they came to in the vault.
    pub(crate) bytes_new: u64,
    pub(crate) bytes_stored: u64,
    /// The most frequent endings of new and changed files.
    pub(crate) suffixes: Vec<(String, u64)>,
}

impl Figures {
    fn files(&self) -> u64 {
        self.files_new + self.files_changed + self.files_unchanged
    }

    /// Which part of its new bytes the vault has to store.
    #[allow(clippy::cast_precision_loss, reason = "a ratio")]
    fn stored_part(&self) -> f64 {
        self.bytes_stored as f64 / self.bytes_new.max(1) as f64
    }
}

/// What is strange about a backup.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Strange {
    /// Of the files of the backup before, so many changed or are gone.
    Changed { files: u64, of: u64 },
    /// The new data hardly compresses, and that of earlier backups did: the parts that were stored, in percent.
    Incompressible { now: u64, before: u64 },
    /// So many of the new and changed files have this ending, which earlier backups did not have so often.
    Suffix { suffix: String, files: u64, of: u64 },
}

/// Fewer files than this say nothing.
const FILES_MIN: u64 = 100;
/// Fewer new bytes than this say nothing about how well they compress.
const BYTES_MIN: u64 = 32 << 20;
/// How many of the files must have changed or gone, in percent.
const CHANGED_PERCENT: u64 = 50;
/// How many of the new and changed files must have one ending, in percent.
const SUFFIX_PERCENT: u64 = 80;
/// Data of which more than this part is stored does not compress.
const INCOMPRESSIBLE: f64 = 0.95;
/// Data of which less than this part is stored does.
const COMPRESSIBLE: f64 = 0.80;

/// What is strange about this backup, given those before it, the newest first. The first backup is never strange.
#[must_use]
pub(crate) fn strange(now: &Figures, before: &[Figures]) -> Vec<Strange> {
    let Some(last) = before.first() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let kept = now.files_changed + now.files_unchanged;
    let gone = last.files().saturating_sub(kept);
    let harmed = now.files_changed + gone;
    if last.files() >= FILES_MIN && harmed * 100 >= last.files() * CHANGED_PERCENT {
        found.push(Strange::Changed {
            files: harmed,
            of: last.files(),
        });
    }
    let enough = |figures: &&Figures| figures.bytes_new >= BYTES_MIN;
    let mut earlier: Vec<f64> = before.iter().filter(enough).map(Figures::stored_part).collect();
    earlier.sort_by(f64::total_cmp);
    if let Some(median) = earlier.get(earlier.len() / 2)
        && now.bytes_new >= BYTES_MIN
        && now.stored_part() >= INCOMPRESSIBLE
        && *median <= COMPRESSIBLE
    {
        found.push(Strange::Incompressible {
            now: percent(now.stored_part()),
            before: percent(*median),
        });
    }
    let moved = now.files_new + now.files_changed;
    if let Some((suffix, files)) = now.suffixes.first()
        && *files >= FILES_MIN
        && files * 100 >= moved * SUFFIX_PERCENT
        // A folder of new photographs is not strange: what has the ending takes the place of what was there.
        && harmed * 2 >= *files
        && !before.iter().any(|figures| had(figures, suffix))
    {
        found.push(Strange::Suffix {
            suffix: suffix.clone(),
            files: *files,
            of: moved,
        });
    }
    found
}

/// Whether the ending was one of the most frequent ones of a backup.
fn had(figures: &Figures, suffix: &str) -> bool {
    figures.suffixes.iter().any(|(known, _)| known == suffix)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a percentage, clamped"
)]
fn percent(part: f64) -> u64 {
    (part * 100.0).round().clamp(0.0, 1000.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn figures(new: u64, changed: u64, unchanged: u64) -> Figures {
        Figures {
            files_new: new,
            files_changed: changed,
            files_unchanged: unchanged,
            ..Figures::default()
        }
    }

    fn data(new: u64, stored: u64) -> Figures {
        Figures {
            bytes_new: new * MIB,
            bytes_stored: stored * MIB,
            ..figures(0, 0, 1000)
        }
    }

    #[test]
    fn a_first_backup_and_a_quiet_one_are_not_strange() {
        assert!(strange(&figures(1_000_000, 0, 0), &[]).is_empty());
        let before = [figures(1000, 0, 0)];
        for quiet in [
            figures(0, 0, 1000),
            figures(0, 499, 501),
            figures(5000, 10, 900),
            figures(0, 0, 501),
        ] {
            assert!(strange(&quiet, &before).is_empty(), "{quiet:?}");
        }
        let few = [figures(99, 0, 0)];
        assert!(strange(&figures(0, 99, 0), &few).is_empty());
    }

    #[test]
    fn many_files_changed_or_gone_are_strange() {
        let before = [figures(200, 0, 800)];
        for (now, files) in [
            (figures(0, 500, 500), 500),
            (figures(0, 0, 500), 500),
            (figures(1000, 0, 0), 1000),
            (figures(0, 300, 400), 600),
        ] {
            assert_eq!(strange(&now, &before), [Strange::Changed { files, of: 1000 }]);
        }
    }

    #[test]
    fn data_that_no_longer_compresses_is_strange() {
        let before = [data(100, 40), data(10, 10), data(100, 60), data(100, 50)];
        let found = strange(&data(100, 100), &before);
        assert_eq!(found, [Strange::Incompressible { now: 100, before: 50 }]);
        assert!(strange(&data(100, 90), &before).is_empty());
        assert!(strange(&data(10, 10), &before).is_empty(), "too little to tell");
        assert!(strange(&data(100, 100), &[data(100, 99)]).is_empty(), "it never did");
        assert!(
            strange(&data(100, 100), &[data(1, 0)]).is_empty(),
            "nothing to compare with"
        );
    }

    #[test]
    fn one_new_ending_in_the_place_of_others_is_strange() {
        let with = |mut figures: Figures, suffix: &str, count| {
            figures.suffixes = vec![(suffix.to_owned(), count)];
            figures
        };
        let before = [with(figures(0, 50, 9950), "log", 50)];
        // 1,000 of 10,000 files were replaced by files of another name.
        let found = strange(&with(figures(1000, 0, 9000), "locked", 990), &before);
        let suffix = "locked".to_owned();
        assert_eq!(
            found,
            [Strange::Suffix {
                suffix,
                files: 990,
                of: 1000
            }]
        );
        for quiet in [
            with(figures(1000, 0, 10_000), "jpg", 1000),
            with(figures(1000, 0, 9000), "log", 1000),
            with(figures(1000, 0, 9000), "locked", 700),
            with(figures(50, 0, 9950), "locked", 50),
        ] {
            assert!(strange(&quiet, &before).is_empty(), "{quiet:?}");
        }
    }
}
