//! What the documents look like, for the OpenAPI document of the control socket: the schemas of types whose words and
//! digits serde does not know. The other schemas are derived from the types.

use std::borrow::Cow;

use lockstone_proto::job;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};

/// An id of 16 bytes: 32 hex digits.
pub(crate) struct Id;

/// The word for a kind of job.
pub(crate) struct JobKindWord;

/// The word for a state of a job.
pub(crate) struct JobStateWord;

impl JsonSchema for Id {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Id".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        text([("pattern", "^[0-9a-f]{32}$".into())])
    }
}

impl JsonSchema for JobKindWord {
    fn schema_name() -> Cow<'static, str> {
        "JobKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        words(job::JobKind::ALL.map(job::JobKind::word))
    }
}

impl JsonSchema for JobStateWord {
    fn schema_name() -> Cow<'static, str> {
        "JobState".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        words(job::JobState::ALL.map(job::JobState::word))
    }
}

fn words<const N: usize>(words: [&str; N]) -> Schema {
    text([("enum", words.map(Value::from).to_vec().into())])
}

fn text<const N: usize>(more: [(&str, Value); N]) -> Schema {
    let members = std::iter::once(("type", "string".into())).chain(more);
    let members: Map<String, Value> = members.map(|(name, value)| (name.to_owned(), value)).collect();
    members.into()
}
