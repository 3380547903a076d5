//! Ten years of a server: two backups a day of which some fail, backups by hand, pauses, and changes of the policy.

use std::time::{Duration, Instant};

use super::*;

/// Numbers that look random, the same for each seed.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn between(&mut self, least: u64, most: u64) -> i64 {
        i64::try_from(least + self.below(most - least + 1)).unwrap()
    }

    fn fate(&mut self) -> Fate {
        match self.below(10) {
            0..=6 => Fate::Succeeds,
            7 | 8 => Fate::Fails,
            _ => Fate::ByHand(self.between(1, 400)),
        }
    }
}

/// The time in which one policy is in force.
struct Era {
    from: Timestamp,
    to: Timestamp,
    schedule: Schedule,
    retention: Retention,
}

struct Years {
    eras: Vec<Era>,
    pauses: Vec<(Timestamp, Timestamp)>,
    fates: Random,
}

const BEGIN: &str = "2020-01-01T00:00:00Z";
const END: &str = "2030-01-01T00:00:00Z";

impl Years {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let zone = TimeZone::get(ZONES[usize::try_from(random.below(12)).unwrap()]).unwrap();
        let day = |random: &mut Random| at(BEGIN) + SignedDuration::from_hours(24 * random.between(1, 3600));
        let mut changes: Vec<Timestamp> = (0..random.below(4)).map(|_| day(&mut random)).collect();
        changes.extend([at(BEGIN), at(END)]);
        changes.sort();
        let pauses = (0..random.below(4)).map(|_| {
            let from = day(&mut random);
            (from, from + SignedDuration::from_hours(24 * random.between(1, 200)))
        });
        let pauses = pauses.collect();
        let eras = changes.array_windows().map(|[from, to]| {
            let mut schedule = schedule("UTC", &[(2, 0), (14, i8::try_from(random.below(60)).unwrap())]);
            schedule.zone = zone.clone();
            let mut retention = usual();
            for (rule, (least, most)) in retention.tiers.iter_mut().zip([(7, 30), (4, 20), (3, 24), (1, 9)]) {
                let count = random.between(least, most);
                rule.span = super::rule(rule.tier, count, Days::Every).span;
            }
            let (from, to) = (*from, *to);
            Era {
                from,
                to,
                schedule,
                retention,
            }
        });
        let eras = eras.collect();
        Self {
            eras,
            pauses,
            fates: random,
        }
    }

    fn is_paused(&self, at: Timestamp) -> bool {
        self.pauses.iter().any(|(from, to)| *from <= at && at < *to)
    }

    /// The backup of a run: when it was made, and whether it was the run's own.
    fn backup(&self, run: &Run, era: &Era, fates: &mut Random) -> Option<(Timestamp, bool)> {
        let (at, is_own) = match fates.fate() {
            Fate::Succeeds => (run.at, true),
            Fate::Fails => return None,
            Fate::ByHand(minutes) => (run.at + SignedDuration::from_mins(minutes), false),
        };
        (at < era.to && !self.is_paused(run.at) && !self.is_paused(at)).then_some((at, is_own))
    }

    /// The points that are left, by this program. It forgets once in each era, which is the same as after each backup.
    fn left(&self) -> Vec<Kept> {
        let (mut fates, mut all, mut left) = (self.fates.clone(), Vec::new(), Vec::new());
        for era in &self.eras {
            let mut ledger = Ledger::new(&era.schedule, &era.retention, &all, era.from);
            let last = era.to - Duration::from_nanos(1);
            let mut looked = None;
            while let Some(run) = ledger.pass(last) {
                if let Some((at, is_own)) = self.backup(&run, era, &mut fates) {
                    let tags = ledger.succeed(at, is_own.then_some(&run), false);
                    all.push(Made { at, tags });
                    left.push(point(at, tags));
                    looked = Some(at);
                }
            }
            if let Some(looked) = looked {
                let mut forget = plan(&era.retention, &era.schedule.zone, &left, looked)
                    .forget
                    .into_iter();
                left.retain(|_| !forget.next().unwrap());
            }
        }
        left
    }

    /// The same by the rules in their plainest form: slots are looked for day by day, and after each backup each point
    /// is asked.
    fn model(&self) -> Vec<Kept> {
        let (mut fates, mut all, mut left) = (self.fates.clone(), Vec::<Made>::new(), Vec::<Kept>::new());
        for era in &self.eras {
            for run in era.schedule.runs(era.from, era.to) {
                let Some((at, is_own)) = self.backup(&run, era, &mut fates) else {
                    continue;
                };
                let mut tags = Tags::default();
                for rule in &era.retention.tiers {
                    let is_slot = run.slots().any(|slot| rule.names(slot, &era.schedule));
                    let newest = newest_slot(rule, era, at);
                    let has = |slot: Timestamp| {
                        all.iter()
                            .rev()
                            .take_while(|made| made.at >= slot)
                            .any(|made| made.tags.contains(Tag::Tier(rule.tier)))
                    };
                    let is_owed = rule.tier != Tier::Daily && newest.is_some_and(|slot| !has(slot));
                    if is_own && is_slot || is_owed {
                        tags.insert(Tag::Tier(rule.tier));
                    }
                }
                if !is_own {
                    tags.insert(Tag::OnDemand);
                }
                all.push(Made { at, tags });
                left.push(point(at, tags));
                let ends = |kept: &Kept| kept.expiry(&era.retention, &era.schedule.zone);
                left.retain(|kept| kept.at == at || ends(kept) > Expiry::At(at));
            }
        }
        left
    }
}

fn point(at: Timestamp, tags: Tags) -> Kept {
    Kept {
        at,
        tags,
        retain_until: None,
        held: false,
    }
}

/// The newest slot of a tier at or before `at`, in this era.
fn newest_slot(rule: &TierRule, era: &Era, at: Timestamp) -> Option<Timestamp> {
    let mut to = at + Duration::from_nanos(1);
    while to > era.from {
        let from = (to - SignedDuration::from_hours(24 * 20)).max(era.from);
        let runs = era.schedule.runs(from, to);
        let slots = runs.filter(|run| run.slots().any(|slot| rule.names(slot, &era.schedule)));
        if let Some(run) = slots.last() {
            return Some(run.at);
        }
        to = from;
    }
    None
}

#[test]
fn ten_years_leave_the_points_that_the_model_says() {
    for seed in 0..3 {
        let years = Years::new(seed);
        let left = years.left();
        assert!(left.len() > 20, "{seed}: {}", left.len());
        assert_eq!(left, years.model(), "{seed}");
    }
}

/// A measurement: `cargo nextest run --release --run-ignored all -E 'test(histories_of_ten_years)' --no-capture`.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr, reason = "a measurement")]
fn ten_thousand_histories_of_ten_years() {
    let begun = Instant::now();
    let next = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= 10_000 {
                        break;
                    }
                    assert!(Years::new(seed).left().len() > 10);
                }
            });
        }
    });
    eprintln!("10,000 histories in {:?}", begun.elapsed());
}
