//! How far this server's clock and the store's are apart. An object store says its time with every answer; the file
//! system of a local vault, which may be a mount from elsewhere, says it with every file that is written.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use http::HeaderMap;
use http::header::{AGE, DATE};
use jiff::{SignedDuration, Timestamp};

use super::names;

/// The store has not said its time.
const UNKNOWN: i64 = i64::MIN;

/// What is known of a store's clock.
#[derive(Debug)]
pub(crate) struct StoreClock {
    /// The store's time less this server's, seconds.
    offset_s: AtomicI64,
}

impl Default for StoreClock {
    fn default() -> Self {
        Self {
            offset_s: AtomicI64::new(UNKNOWN),
        }
    }
}

impl StoreClock {
    /// Notes that the store's clock shows this time now.
    pub(crate) fn note(&self, shows: Timestamp) {
        let offset = shows.as_second() - Timestamp::now().as_second();
        self.offset_s.store(offset, Ordering::Relaxed);
    }

    /// Notes the time of an answer. One that a cache kept has an old time.
    pub(super) fn answered(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).filter(|_| !headers.contains_key(AGE));
        let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date.to_str().ok()?).ok());
        if let Some(date) = date {
            self.note(date.timestamp());
        }
    }

    /// Notes the time of a file that was just written.
    pub(super) fn wrote(&self, file: &Path) {
        let modified = std::fs::metadata(file).and_then(|stat| stat.modified());
        if let Some(modified) = modified
            .ok()
            .and_then(|time: SystemTime| Timestamp::try_from(time).ok())
        {
            self.note(modified);
        }
    }

    /// Asks the file system below a vault's folder for its time, by a file that is made and removed. If none can be
    /// made, the newest change of a folder there shows at least how late it is. Asks the kernel itself: what stands
    /// between it and a program may tell another time.
    pub(super) fn ask(&self, root: &Path) {
        if self.offset().is_some() {
            return;
        }
        let file = root.join(format!(".clock-{:016x}", getrandom::u64().unwrap_or_default()));
        let made = File::create_new(&file)
            .ok()
            .and_then(|made| rustix::fs::fstat(&made).ok());
        let _ = std::fs::remove_file(&file);
        if let Some(time) = made.and_then(|stat| Timestamp::from_second(stat.st_mtime).ok()) {
            self.note(time);
            return;
        }
        let domains = std::fs::read_dir(root.join(names::DOMAINS))
            .into_iter()
            .flatten()
            .flatten();
        let logs = domains.map(|domain| domain.path().join("log"));
        let folders = [names::SERVERS, names::JOBS, names::ORDERS].map(|folder| root.join(folder));
        let changed = logs.chain(folders).chain([root.to_owned()]);
        let changed =
            changed.filter_map(|folder| Timestamp::from_second(rustix::fs::stat(&folder).ok()?.st_mtime).ok());
        if let Some(latest) = changed.max().filter(|latest| *latest > Timestamp::now()) {
            self.note(latest);
        }
    }

    /// The store's time less this server's. `None` if the store has not said its time.
    pub(super) fn offset(&self) -> Option<SignedDuration> {
        let offset = self.offset_s.load(Ordering::Relaxed);
        (offset != UNKNOWN).then(|| SignedDuration::from_secs(offset))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_the_time_unless_a_cache_gave_it() {
        let clock = StoreClock::default();
        let headers = |pairs: &[(http::HeaderName, &'static str)]| {
            let pairs = pairs.iter().cloned();
            pairs
                .map(|(name, value)| (name, http::HeaderValue::from_static(value)))
                .collect::<HeaderMap>()
        };
        clock.answered(&headers(&[(DATE, "soon")]));
        clock.answered(&headers(&[(DATE, "Sun, 06 Nov 1994 08:49:37 GMT"), (AGE, "7")]));
        assert_eq!(clock.offset(), None);
        clock.answered(&headers(&[(DATE, "Sun, 06 Nov 1994 08:49:37 GMT")]));
        assert!(clock.offset().unwrap() < SignedDuration::from_hours(-24 * 365 * 30));
    }

    #[test]
    fn a_file_that_is_written_says_the_time_of_its_file_system() {
        let clock = StoreClock::default();
        clock.wrote(Path::new("/does/not/exist"));
        assert_eq!(clock.offset(), None);
        let file = tempfile::NamedTempFile::new().unwrap();
        let in_a_day = SystemTime::now() + std::time::Duration::from_secs(86_400);
        file.as_file().set_modified(in_a_day).unwrap();
        clock.wrote(file.path());
        assert_eq!(clock.offset().unwrap().as_hours(), 24);
    }

    #[test]
    fn a_folder_is_asked_for_its_time_and_nothing_stays_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let clock = StoreClock::default();
        clock.ask(folder.path());
        assert!(clock.offset().is_some_and(|offset| offset.as_secs().abs() < 60));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let clock = StoreClock::default();
        clock.ask(&folder.path().join("none"));
        assert_eq!(clock.offset(), None);
    }
}
