//! Notices that a second copy of this state folder makes backups.
//!
//! A machine that is copied with its state folder has the same server id and the same keys as the original. Both would
//! then continue each other's backups. What gives that away are recovery points of this server's own id that no job of
//! this state folder made. Each of the two sees those of the other.

use jiff::Timestamp;
use lockstone_proto::ids::ServerId;
use lockstone_proto::job::JobKind;
use lockstone_vault::log::Point;

use super::job_records::JobRecord;
use crate::text::point::short;
use crate::text::render;

/// The points of this server that another copy of its state folder made, oldest first. What is older than the records
/// of jobs is not looked at.
fn foreign<'p>(points: &'p [Point], server: ServerId, records: &[JobRecord]) -> Vec<&'p Point> {
    let backups = || records.iter().filter(|record| record.kind == JobKind::Backup);
    let Some(first) = backups().filter_map(started).min() else {
        return Vec::new();
    };
    let made_here = |point: &Point| {
        backups().any(|record| match record.point {
            Some(made) => made == point.id,
            // A job that was interrupted does not know whether it made a point.
            None => started(record).is_some_and(|start| {
                let end = record.ended.as_deref().and_then(|ended| ended.parse().ok());
                let end = end.map_or(i64::MAX, Timestamp::as_second);
                (start..=end).contains(&point.summary.started_s)
            }),
        })
    };
    points
        .iter()
        .filter(|point| point.server == server && point.summary.started_s >= first && !made_here(point))
        .collect()
}

/// When a job started, seconds since the epoch.
fn started(record: &JobRecord) -> Option<i64> {
    record.started.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// A warning if another copy of this state folder makes backups.
pub(crate) fn warning(points: &[Point], server: ServerId, records: &[JobRecord]) -> Option<String> {
    let foreign = foreign(points, server, records);
    let last = foreign.last()?;
    Some(format!(
        "another copy of this state folder makes backups as this server: {}, the last is {} of {}; on the copied \
         machine run `lockstone unregister --offline` and register it under a name of its own",
        render::counted(foreign.len() as u64, "recovery point", "recovery points"),
        short(&last.id),
        render::local_time(last.summary.started_s)
    ))
}

#[cfg(test)]
mod tests {
    use lockstone_proto::ids::{JobId, PointId};
    use lockstone_proto::job::JobState;
    use lockstone_proto::vault::{CommitBody, PointSummary};
    use serde_json::Map;

    use super::*;

    const SERVER: ServerId = ServerId([1; 16]);

    fn point(id: u8, started_s: i64) -> Point {
        Point {
            id: PointId([id; 16]),
            n: id.into(),
            server: SERVER,
            time_s: started_s,
            summary: PointSummary {
                started_s,
                ..PointSummary::default()
            },
            body: CommitBody::default(),
            forgotten: None,
            removal: None,
            hold: None,
        }
    }

    fn record(started_s: i64, ended_s: Option<i64>, point: Option<u8>) -> JobRecord {
        let time = |s: i64| Timestamp::from_second(s).unwrap_or_default().to_string();
        let mut record = JobRecord::start(JobId([9; 16]), JobKind::Backup, Map::new());
        record.state = JobState::Completed;
        record.started = time(started_s);
        record.ended = ended_s.map(time);
        record.point = point.map(|id| PointId([id; 16]));
        record
    }

    #[test]
    fn a_point_that_no_job_here_made_is_foreign() {
        let records = [record(100, Some(110), Some(1)), record(200, Some(210), Some(2))];
        let points = [point(1, 100), point(2, 200), point(3, 205), point(4, 300)];
        let found: Vec<u64> = foreign(&points, SERVER, &records).iter().map(|point| point.n).collect();
        assert_eq!(found, [3, 4]);
        assert!(warning(&points, SERVER, &records).is_some_and(|text| text.contains("2 recovery points")));
        assert!(foreign(&points, ServerId([2; 16]), &records).is_empty());
    }

    #[test]
    fn a_point_of_an_interrupted_job_or_from_before_the_records_is_not() {
        let points = [point(1, 50), point(2, 205)];
        assert!(
            foreign(
                &points,
                SERVER,
                &[record(100, Some(110), None), record(200, None, None)]
            )
            .is_empty()
        );
        assert!(foreign(&points, SERVER, &[]).is_empty());
    }
}
