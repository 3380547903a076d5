//! Computes what a first backup will wait for, from the figures alone.
//!
//! The stages of a backup run at the same time, so the slowest part sets the pace. The parts are the walk (one thread),
//! the source's file system, the vault, and the cores. All stages share the cores, so their times add up there.

use serde::Serialize;

use super::meter::{Figure, Unit};

/// The length of a small file in this computation, in bytes.
const SMALL_FILE: f64 = 4096.0;

/// What limits the backup of one kind of files.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Limit {
    /// `large` or `small`.
    pub(super) files: &'static str,
    unit: Unit,
    /// The rate of each part alone, the lowest first.
    bounds: Vec<(&'static str, f64)>,
    /// Each step's share of the cores' time, the largest first. The shares add up to 1.
    shares: Vec<(&'static str, f64)>,
}

/// A limit for scripts.
#[derive(Debug, Serialize)]
pub(super) struct LimitDocument<'a> {
    files: &'a str,
    limit: &'a str,
    unit: &'a str,
    rate: f64,
    bounds: Vec<Bound>,
    core_shares: Vec<CoreShare>,
}

#[derive(Debug, Serialize)]
struct Bound {
    name: &'static str,
    rate: f64,
}

#[derive(Debug, Serialize)]
struct CoreShare {
    name: &'static str,
    share: f64,
}

impl Limit {
    fn new(
        files: &'static str,
        unit: Unit,
        mut bounds: Vec<(&'static str, f64)>,
        steps: &[(&'static str, f64)],
    ) -> Self {
        let cost: f64 = steps.iter().map(|(_, rate)| 1.0 / rate).sum();
        bounds.push(("the cores", 1.0 / cost));
        bounds.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut shares: Vec<_> = steps.iter().map(|&(step, rate)| (step, 1.0 / rate / cost)).collect();
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
        Self {
            files,
            unit,
            bounds,
            shares,
        }
    }

    /// The slowest part and its rate.
    fn slowest(&self) -> (&'static str, f64) {
        // There is always at least one part: the cores.
        self.bounds.first().copied().unwrap_or(("the cores", 0.0))
    }

    /// The step that takes the largest share of the cores' time.
    fn largest_share(&self) -> (&'static str, f64) {
        self.shares.first().copied().unwrap_or(("", 0.0))
    }

    pub(super) fn document(&self) -> LimitDocument<'_> {
        let (limit, rate) = self.slowest();
        let bounds = self.bounds.iter();
        let shares = self.shares.iter();
        LimitDocument {
            files: self.files,
            limit,
            unit: self.unit.name(),
            rate,
            bounds: bounds.map(|&(name, rate)| Bound { name, rate }).collect(),
            core_shares: shares.map(|&(name, share)| CoreShare { name, share }).collect(),
        }
    }

    /// The limit for people.
    pub(super) fn sentence(&self) -> String {
        let (what, rate) = self.slowest();
        let (step, share) = self.largest_share();
        let next = match self.bounds.get(1) {
            Some((next, rate)) => format!("; next is {next} ({})", self.unit.show(*rate)),
            None => String::new(),
        };
        format!(
            "A first backup of {} files waits for {what}: about {}{next}. Of the cores' time most goes to {step}: {:.0} %.",
            self.files,
            self.unit.show(rate),
            share * 100.0
        )
    }
}

/// The rate of all threads together.
fn rate_of_all(figures: &[Figure], name: &str) -> f64 {
    // All figures are measured. One that were missing would limit nothing.
    let found = figures.iter().find(|figure| figure.name == name);
    found.map_or(f64::INFINITY, |figure| figure.all.unwrap_or(figure.one))
}

/// The limit for large files that do not compress. Each is read, cut, hashed, compressed in vain, sealed, opened and
/// hashed again (verify before upload), and uploaded at its full size.
pub(super) fn of_large_files(figures: &[Figure]) -> Limit {
    let rate = |name| rate_of_all(figures, name);
    let steps = [
        ("reading", rate("read_large")),
        ("cutting", rate("cut")),
        ("chunk ids", rate("hash_1mib")),
        ("trying to compress", rate("compress_noise")),
        ("sealing", rate("seal")),
        ("verifying: opening", rate("open")),
        ("verifying: chunk ids", rate("hash_1mib")),
    ];
    let bounds = vec![
        ("the source's disk", rate("read_large")),
        ("the vault", rate("vault_put_packs")),
    ];
    Limit::new("large", Unit::Bytes, bounds, &steps)
}

/// The limit for small text files. They are walked by one thread, opened and read, hashed, compressed together, sealed
/// and verified.
pub(super) fn of_small_files(figures: &[Figure]) -> Limit {
    let rate = |name| rate_of_all(figures, name);
    let files = |name| rate_of_all(figures, name) / SMALL_FILE;
    let walk = figures
        .iter()
        .find(|figure| figure.name == "walk")
        .map_or(f64::INFINITY, |walk| walk.one);
    let steps = [
        ("walking", rate("walk")),
        ("opening and reading", rate("read_small")),
        ("chunk ids", files("hash_4kib")),
        ("compressing", files("compress_3")),
        ("sealing", files("seal")),
        ("verifying: opening", files("open")),
        ("verifying: decompressing", files("decompress")),
        ("verifying: chunk ids", files("hash_4kib")),
    ];
    let bounds = vec![
        ("the walk", walk),
        ("the source's disk", rate("read_small")),
        ("the vault", files("vault_put_packs")),
    ];
    Limit::new("small", Unit::Count, bounds, &steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(of: &[(&'static str, f64)]) -> Vec<Figure> {
        let names = [
            "walk",
            "read_large",
            "read_small",
            "cut",
            "hash_1mib",
            "hash_4kib",
            "compress_3",
            "compress_noise",
            "decompress",
            "seal",
            "open",
            "vault_put_packs",
        ];
        let value = |name| {
            of.iter()
                .find(|(other, _)| *other == name)
                .map_or(1e12, |(_, value)| *value)
        };
        let figure = |name| Figure {
            name,
            title: "",
            unit: Unit::Bytes,
            one: value(name),
            all: Some(value(name)),
        };
        names.into_iter().map(figure).collect()
    }

    #[test]
    fn the_slowest_part_is_the_limit() {
        let slow_vault = of_large_files(&figures(&[("vault_put_packs", 10e6), ("seal", 1e9)]));
        assert_eq!(slow_vault.slowest(), ("the vault", 10e6));
        assert_eq!(slow_vault.largest_share().0, "sealing");
        let slow_disk = of_small_files(&figures(&[("read_small", 100.0)]));
        // A thread that reads occupies a core, so the cores are no faster than the reading.
        assert!(slow_disk.slowest().1 <= 100.0 && slow_disk.largest_share().0 == "opening and reading");
    }

    #[test]
    fn what_the_cores_share_adds_up() {
        let limit = of_large_files(&figures(&[("cut", 4e9), ("hash_1mib", 4e9)]));
        let (what, rate) = limit.slowest();
        assert_eq!(what, "the cores");
        // Cutting once and hashing twice at 4 GB/s; the other steps take almost no time.
        assert!((1.3e9..1.34e9).contains(&rate), "{rate}");
        let sum: f64 = limit.shares.iter().map(|(_, share)| share).sum();
        assert!((sum - 1.0).abs() < 1e-9);
    }
}
