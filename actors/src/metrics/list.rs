//! Every metric of this program: its name, type, labels and meaning. The registry and `docs/metrics.md` are both made
//! from this list, so they always agree.
//!
//! Names are `lockstone_<noun>_<unit>[_total]`, in base units. A label's values come from a fixed set, so the size of a
//! page depends neither on the data nor on the time. No label contains a path, a file name, a chunk id or a server
//! name.

use lockstone_proto::job::{JobKind, JobState};

use crate::flow::StageName;

/// The type that Prometheus gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Kind {
    /// The type's word in Prometheus's text format.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Which processes export a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportedBy {
    /// A process that runs a job (`--metrics-listen`, `--metrics-textfile`).
    Job,
    /// The agent alone.
    Agent,
    /// A process that runs a job, and the agent, which takes the figures from the records of this server's jobs.
    Both,
}

impl ExportedBy {
    /// The processes, as `docs/metrics.md` names them.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Agent => "agent",
            Self::Both => "job, agent",
        }
    }
}

/// A label and all values that it can have, besides `other`.
#[derive(Debug, PartialEq, Eq)]
pub struct Label {
    /// The label's name, unique within a metric.
    pub name: &'static str,
    /// The set of its values.
    pub values: &'static [&'static str],
}

/// A metric family.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// The full name, such as `lockstone_jobs_total`.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Which processes export it.
    pub exported_by: ExportedBy,
    /// Its labels, in the order in which the code gives their values.
    pub labels: &'static [Label],
    /// Its meaning, in one sentence or two.
    pub help: &'static str,
}

/// What a series says instead of a value that is in no set.
pub(crate) const OTHER: &str = "other";

/// The words of all kinds of jobs.
const KINDS: [&str; JobKind::ALL.len()] = {
    let mut words = [""; JobKind::ALL.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = JobKind::ALL[at].word();
        at += 1;
    }
    words
};
/// The words of all states in which a job can end.
const STATUSES: [&str; JobState::ENDED.len()] = {
    let mut words = [""; JobState::ENDED.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = JobState::ENDED[at].word();
        at += 1;
    }
    words
};

const KIND: Label = Label {
    name: "kind",
    values: &KINDS,
};
const STATUS: Label = Label {
    name: "status",
    values: &STATUSES,
};
const STAGE: Label = Label {
    name: "stage",
    values: StageName::WORDS,
};
/// The states of a job that has begun and not ended.
const STATE: Label = Label {
    name: "state",
    values: &[JobState::Running.word(), JobState::Cancelling.word()],
};
const FILE_OUTCOME: Label = Label {
    name: "outcome",
    values: &["new", "changed", "unchanged", "restored", "skipped", "copied"],
};
const WHAT: Label = Label {
    name: "what",
    values: &["scanned", "read", "new", "stored", "fetched", "written"],
};
const LANE: Label = Label {
    name: "lane",
    values: &["data", "tree", "sealed", "raw"],
};
const VERB: Label = Label {
    name: "verb",
    values: &["put", "get", "head", "list", "delete", "copy"],
};
const DIRECTION: Label = Label {
    name: "direction",
    values: &["up", "down"],
};

/// What alerts are about.
const ALERT_KINDS: &[&str] = &[
    "failure", "warnings", "deletion", "missed", "cache", "damage", "test", "success",
];

/// Declares the metrics: a constant for each, for the code, and all of them in order, for the registry and the page.
macro_rules! metrics {
    ($($id:ident = $kind:ident $by:ident $name:literal [$($label:expr),*] $help:literal;)*) => {
        $(pub(super) const $id: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            exported_by: ExportedBy::$by,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// All metrics, in the order of the page.
        pub const ALL: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    BUILD = Gauge Both "lockstone_build_info"
        [Label { name: "version", values: &[env!("CARGO_PKG_VERSION")] }]
        "Always 1. The label is the version of the program that runs.";

    JOBS_RUNNING = Gauge Both "lockstone_jobs_running"
        [KIND, STATE]
        "Jobs that have begun and not ended, by kind and state.";
    JOBS = Counter Both "lockstone_jobs_total" [KIND, STATUS]
        "Jobs that ended, by kind and status. In the agent: the jobs of this server's records.";
    LAST_END = Gauge Both "lockstone_last_end_timestamp_seconds" [KIND, STATUS]
        "When a job of the kind last ended with the status, seconds since the epoch.";
    LAST_SUCCESS = Gauge Both "lockstone_last_success_timestamp_seconds" [KIND]
        "When a job of the kind last completed, with warnings or without, seconds since the epoch.";
    JOB_DURATION = Gauge Both "lockstone_job_duration_seconds" [KIND]
        "How long the last job of the kind took.";
    JOB_BYTES = Gauge Both "lockstone_job_bytes" [KIND, WHAT]
        "Bytes of the last job of the kind.";
    JOB_FILES = Gauge Both "lockstone_job_files" [KIND, FILE_OUTCOME]
        "Files of the last job of the kind, by outcome.";
    JOB_DEDUP = Gauge Both "lockstone_job_dedup_ratio" []
        "The share of the scanned bytes that the vault had or that were not read again, 0 to 1. Of the last backup \
         that scanned any.";
    JOB_COMPRESSION = Gauge Both "lockstone_job_compression_ratio" []
        "Bytes stored for each new byte. More than 1 if the trees are larger than the data. Of the last backup that \
         had any new bytes.";
    JOB_WARNINGS = Gauge Both "lockstone_job_warnings" [KIND]
        "Warnings of the last job of the kind.";
    JOB_RESTARTS = Gauge Both "lockstone_job_restarts" [KIND]
        "Generations after the first of the last job of the kind.";

    FILES = Counter Job "lockstone_files_total" [FILE_OUTCOME]
        "Files of this process's jobs, by outcome. Every generation of a job counts them again.";
    BYTES = Counter Job "lockstone_bytes_total" [WHAT]
        "Bytes of this process's jobs: scanned, read, new and stored by a backup, fetched and written by a restore.";
    CHUNKS = Counter Job "lockstone_chunks_total" [Label { name: "outcome", values: &["new", "known"] }]
        "Chunks of file content that a backup read, by whether the vault had them.";

    RESTARTS = Counter Job "lockstone_restarts_total" []
        "Generations started after a fault.";
    FAULTS = Counter Job "lockstone_stage_faults_total" [STAGE]
        "Faults of a stage, including panics.";
    PANICS = Counter Job "lockstone_stage_panics_total" [STAGE]
        "Panics of a stage.";
    THREADS = Gauge Job "lockstone_stage_threads" [STAGE]
        "Threads of a stage that are running.";
    ITEMS = Counter Job "lockstone_stage_items_total" [STAGE]
        "Messages sent to a stage's inbox.";
    STAGE_BYTES = Counter Job "lockstone_stage_bytes_total" [STAGE]
        "Bytes of content in those messages: files to read, chunks, frames, sealed packs or ranges.";
    BUSY = Counter Job "lockstone_stage_busy_seconds_total" [STAGE]
        "Time that a stage's threads worked, including waits for a device or the store. Summed over threads.";
    STARVED = Counter Job "lockstone_stage_starved_seconds_total" [STAGE]
        "Time that a stage's threads waited for work.";
    BLOCKED = Counter Job "lockstone_stage_blocked_seconds_total" [STAGE]
        "Time that a stage's threads waited for room in the next stage's inbox or in the budget.";
    AWAITED = Counter Job "lockstone_stage_awaited_seconds_total" [STAGE]
        "Time that other stages waited for room in this stage's inbox. It is highest for the slowest stage.";
    QUEUE = Gauge Job "lockstone_stage_queue_messages" [STAGE]
        "Messages waiting in a stage's inbox.";
    CAPACITY = Gauge Job "lockstone_stage_queue_capacity_messages" [STAGE]
        "The most messages that a stage's inbox holds.";
    BUDGET_USED = Gauge Job "lockstone_budget_used_bytes" [LANE]
        "Bytes of the memory budget in use, by lane.";
    BUDGET_LIMIT = Gauge Job "lockstone_budget_limit_bytes" [LANE]
        "The memory budget, by lane. 0 while no job runs.";

    THROTTLE_LIMIT = Gauge Job "lockstone_throttle_limit_bytes_per_second" [DIRECTION]
        "The limit that applies now. +Inf is no limit, 0 is a pause.";
    THROTTLE_WAITED = Counter Job "lockstone_throttle_waited_seconds_total" [DIRECTION]
        "Time spent waiting for the throttle, summed over requests.";

    REQUESTS = Counter Job "lockstone_store_requests_total"
        [VERB, Label { name: "outcome", values: &["done", "exists", "not_found", "failed"] }]
        "Requests to the vault's store by verb and outcome. Each attempt counts.";
    REQUEST_DURATION = Histogram Job "lockstone_store_request_duration_seconds" [VERB]
        "How long requests to the vault's store took, by verb.";
    RETRIES = Counter Job "lockstone_store_retries_total" [VERB]
        "Attempts after the first one, by verb.";
    STORE_BYTES = Counter Job "lockstone_store_bytes_total" [DIRECTION]
        "Bytes written to the vault's store (up) and read from it (down).";

    CACHE_FREE = Gauge Both "lockstone_cache_free_bytes" []
        "Bytes free to this program on the file system of the cache folder.";
    CACHE_SIZE = Gauge Both "lockstone_cache_filesystem_bytes" []
        "Bytes of the file system of the cache folder.";
    INDEX_CHUNKS = Gauge Both "lockstone_index_chunks" []
        "Chunks in the local index. A chunk that is in two packs counts twice.";
    INDEX_BYTES = Gauge Both "lockstone_index_bytes" []
        "Bytes of the local index on disk.";
    DISTRUSTED = Gauge Both "lockstone_vault_distrusted_packs" []
        "Packs of the vault that this server found damaged or missing and whose content is not stored again, as its \
         last job knew them.";
    DAMAGED = Gauge Both "lockstone_vault_damaged_objects" []
        "Objects of the vault that the last check which ran to its end found damaged or missing, and that cost \
         something or have to be looked at.";
    UNREAD_SINCE = Gauge Both "lockstone_vault_unread_since_timestamp_seconds" []
        "When the pack was read by a check that was not read for the longest time, or since when this server knows it \
         if it was never read, seconds since the epoch.";
    UNREAD_AGE = Gauge Both "lockstone_vault_oldest_unread_age_seconds" []
        "For how long no check of this server has read some byte of the vault. The policy's `[check]` keeps it small.";
    UNREAD_BYTES = Gauge Both "lockstone_vault_never_read_bytes" []
        "Bytes of packs that no check of this server has read yet.";
    LOOKUPS = Counter Job "lockstone_index_lookups_total" [Label { name: "outcome", values: &["hit", "miss"] }]
        "Chunks looked up in the local index, by whether the index has them.";
    POINTS = Gauge Both "lockstone_points"
        [Label { name: "tag", values: &["on-demand", "daily", "weekly", "monthly", "yearly", OTHER] }]
        "Recovery points of this server that are not deleted, by tag, as the last job saw them. A point with \
         several tags counts for each of them.";
    NEWEST_OF_TAG = Gauge Both "lockstone_tag_newest_point_timestamp_seconds"
        [Label { name: "tag", values: &["on-demand", "daily", "weekly", "monthly", "yearly", OTHER] }]
        "When the backup of the newest recovery point of this server with this tag began, seconds since the epoch, as \
         the last job saw it.";
    NEXT_RUN = Gauge Agent "lockstone_next_run_timestamp_seconds" []
        "When the next backup of the schedule is due, seconds since the epoch. 0: none is.";
    ALERTS = Gauge Agent "lockstone_alerts" [Label { name: "kind", values: ALERT_KINDS }]
        "Alerts of the last 24 hours, by kind.";
    LAST_ALERT = Gauge Agent "lockstone_last_alert_timestamp_seconds" [Label { name: "kind", values: ALERT_KINDS }]
        "When the last alert of the kind was raised, seconds since the epoch.";
    NEWEST_POINT = Gauge Both "lockstone_newest_point_timestamp_seconds" []
        "When the backup of this server's newest recovery point began, seconds since the epoch.";
    NEWEST_POINT_AGE = Gauge Both "lockstone_newest_point_age_seconds" []
        "The age of this server's newest recovery point: later changes would be lost now. Not in a textfile, where \
         it would not change.";
}

/// The text of `docs/metrics.md`.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         `lockstone metrics-page` makes this page from the code, and a test fails if the page is out of date.\n\
         How to scrape the metrics is in [operations.md](operations.md). Dashboards and alerts are in `dashboards/`.\n\n\
         Names are `lockstone_<noun>_<unit>[_total]`, in base units. A label's values come from the sets below, so\n\
         the number of series never grows with the data. The last column says which process exports the metric:\n\
         \"job\" is a process that runs a job (`--metrics-listen`, `--metrics-textfile`); \"agent\" is\n\
         `lockstone agent`, which takes the figures from the records of this server's jobs. A series only exists\n\
         once it has a value.\n\n\
         | name | type | labels | meaning | exported by |\n|---|---|---|---|---|\n",
    );
    for metric in ALL {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{}`", label.name)).collect();
        page.push_str(&format!(
            "| `{}` | {} | {} | {} | {} |\n",
            metric.name,
            metric.kind.word(),
            labels.join(", "),
            metric.help,
            metric.exported_by.words()
        ));
    }
    page.push_str("\n## Labels\n\n| label | of | values |\n|---|---|---|\n");
    let mut seen: Vec<&Label> = Vec::new();
    for label in ALL.iter().flat_map(|metric| metric.labels) {
        if seen.contains(&label) {
            continue;
        }
        seen.push(label);
        let of: Vec<String> = ALL
            .iter()
            .filter(|metric| metric.labels.contains(label))
            .map(|metric| format!("`{}`", metric.name))
            .collect();
        page.push_str(&format!(
            "| `{}` | {} | {} |\n",
            label.name,
            of.join(", "),
            label.values.join(", ")
        ));
    }
    page
}
