//! The policy file as it is typed: what serde reads, before it is looked at as a whole.

use serde::Deserialize;
use toml::Spanned;

/// A value with its place in the text.
pub(super) type At<T> = Spanned<T>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPolicy {
    #[serde(default)]
    pub(super) exclude: Vec<String>,
    #[serde(default)]
    pub(super) system_state: bool,
    #[serde(default)]
    pub(super) allow_volume: Vec<At<String>>,
    #[serde(default = "yes")]
    pub(super) package_check: bool,
    #[serde(default)]
    pub(super) short_retention: bool,
    pub(super) bandwidth: Option<At<super::Bandwidth>>,
    #[serde(default)]
    pub(super) item: Vec<At<RawItem>>,
    pub(super) schedule: Option<RawSchedule>,
    pub(super) retention: Option<At<RawRetention>>,
    pub(super) hooks: Option<RawHooks>,
    pub(super) notify: Option<RawNotify>,
    pub(super) check: Option<RawCheck>,
    pub(super) test_restore: Option<RawTest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawItem {
    pub(super) path: Option<At<String>>,
    pub(super) name: Option<At<String>>,
    pub(super) command: Option<At<Vec<String>>>,
    #[serde(default)]
    pub(super) exclude: Vec<String>,
    #[serde(default)]
    pub(super) one_file_system: bool,
    pub(super) snapshot: Option<At<String>>,
    #[serde(default)]
    pub(super) include_caches: bool,
    pub(super) required: Option<At<bool>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSchedule {
    pub(super) time_zone: Option<At<String>>,
    pub(super) times: At<Vec<At<String>>>,
    pub(super) days: Option<At<Vec<At<String>>>>,
    pub(super) every_weeks: Option<At<i64>>,
    pub(super) random_delay: Option<At<String>>,
    #[serde(default = "yes")]
    pub(super) catch_up: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetention {
    pub(super) daily: Option<At<RawDaily>>,
    pub(super) weekly: Option<At<RawWeekly>>,
    pub(super) monthly: Option<At<RawMonthly>>,
    pub(super) yearly: Option<At<RawYearly>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDaily {
    pub(super) days: At<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWeekly {
    pub(super) weeks: At<i64>,
    pub(super) on: At<OneOrMany>,
    pub(super) at: Option<At<OneOrMany>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMonthly {
    pub(super) months: At<i64>,
    pub(super) on: At<OneOrMany>,
    pub(super) at: Option<At<OneOrMany>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawYearly {
    pub(super) years: At<i64>,
    pub(super) months: At<OneOrMany>,
    pub(super) on: At<OneOrMany>,
    pub(super) at: Option<At<OneOrMany>>,
}

/// A list of words and numbers. One may stand without brackets. Only the list as a whole has a place in the text: the
/// places of its parts are lost where serde has to try one form after the other.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, a number, or a list of them")]
pub(super) enum OneOrMany {
    Many(Vec<Word>),
    One(Word),
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Word {
    Number(i64),
    Text(String),
}

impl OneOrMany {
    pub(super) fn words(&self) -> Vec<String> {
        let all = match self {
            Self::Many(many) => many,
            Self::One(one) => std::slice::from_ref(one),
        };
        let words = all.iter().map(|word| match word {
            Word::Number(number) => number.to_string(),
            Word::Text(text) => text.clone(),
        });
        words.collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHooks {
    pub(super) before: Option<At<Vec<String>>>,
    pub(super) after: Option<At<Vec<String>>>,
    #[serde(default = "yes")]
    pub(super) before_required: bool,
    pub(super) timeout: Option<At<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNotify {
    pub(super) command: Option<At<Vec<String>>>,
    pub(super) webhook: Option<At<String>>,
    pub(super) mail: Option<At<super::Mail>>,
    pub(super) on: Option<Vec<At<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCheck {
    pub(super) every: At<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTest {
    pub(super) every: At<String>,
    pub(super) files: Option<At<i64>>,
    pub(super) folder: Option<At<String>>,
}

fn yes() -> bool {
    true
}
