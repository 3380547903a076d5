//! How far this server's clock and the store's are apart. An object store says its time with every answer; the file
//! system of a local vault, which may be a mount from elsewhere, says it with every file that is written.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use http::HeaderMap;
use http::header::{AGE, DATE};
use jiff::{SignedDuration, Timestamp};

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
}
