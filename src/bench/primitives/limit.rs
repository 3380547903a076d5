//! What a first backup will wait for. A pure function of the figures: the stages of a backup run at the same time, so the
//! slowest of three ways sets the pace: the walk (one thread), the source's file system, the vault; or the cores, which
//! all stages share, so that their times add up there.

use serde_json::{Value, json};

use super::meter::{Figure, Unit};

/// A file of this length stands for the small ones, bytes.
const SMALL: f64 = 4096.0;

/// What a kind of files is limited by.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Limit {
    /// `large` or `small`.
    pub(super) files: &'static str,
    unit: Unit,
    /// What each could do alone, the least first.
    bounds: Vec<(&'static str, f64)>,
    /// How the cores' time is shared out among the steps, the most first; 1 in all.
    shares: Vec<(&'static str, f64)>,
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

    /// What it is, and what it can do.
    fn least(&self) -> (&'static str, f64) {
        // There is always one: the cores.
        self.bounds.first().copied().unwrap_or(("the cores", 0.0))
    }

    /// Of the steps on the cores, the one that takes most.
    fn dearest(&self) -> (&'static str, f64) {
        self.shares.first().copied().unwrap_or(("", 0.0))
    }

    pub(super) fn json(&self) -> Value {
        let list = |pairs: &[(&'static str, f64)], member: &str| -> Value {
            pairs
                .iter()
                .map(|(name, value)| json!({ "name": name, member: value }))
                .collect()
        };
        json!({
            "files": self.files,
            "limit": self.least().0,
            "unit": self.unit.name(),
            "rate": self.least().1,
            "bounds": list(&self.bounds, "rate"),
            "core_shares": list(&self.shares, "share"),
        })
    }

    /// For people.
    pub(super) fn sentence(&self) -> String {
        let (what, rate) = self.least();
        let (step, share) = self.dearest();
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

fn all(figures: &[Figure], name: &str) -> f64 {
    // A figure that is missing limits nothing; all of them are measured.
    let found = figures.iter().find(|figure| figure.name == name);
    found.map_or(f64::INFINITY, |figure| figure.all.unwrap_or(figure.one))
}

/// Large files that do not compress: read, cut, hashed, tried to compress, sealed, opened and hashed again (verify before
/// upload), and uploaded as they are.
pub(super) fn of_large_files(figures: &[Figure]) -> Limit {
    let rate = |name| all(figures, name);
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

/// Small files of text: walked by one thread, opened and read, hashed, compressed together, sealed, and verified.
pub(super) fn of_small_files(figures: &[Figure]) -> Limit {
    let rate = |name| all(figures, name);
    let files = |name| all(figures, name) / SMALL;
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
            what: "",
            unit: Unit::Bytes,
            one: value(name),
            all: Some(value(name)),
        };
        names.into_iter().map(figure).collect()
    }

    #[test]
    fn the_slowest_way_is_the_limit() {
        let slow_vault = of_large_files(&figures(&[("vault_put_packs", 10e6), ("seal", 1e9)]));
        assert_eq!(slow_vault.least(), ("the vault", 10e6));
        assert_eq!(slow_vault.dearest().0, "sealing");
        let slow_disk = of_small_files(&figures(&[("read_small", 100.0)]));
        // Whoever reads is on a core meanwhile: the cores are no faster than what they read with.
        assert!(slow_disk.least().1 <= 100.0 && slow_disk.dearest().0 == "opening and reading");
    }

    #[test]
    fn what_the_cores_share_adds_up() {
        let limit = of_large_files(&figures(&[("cut", 4e9), ("hash_1mib", 4e9)]));
        let (what, rate) = limit.least();
        assert_eq!(what, "the cores");
        // Cutting once and hashing twice at 4 GB/s, the rest next to nothing.
        assert!((1.3e9..1.34e9).contains(&rate), "{rate}");
        let sum: f64 = limit.shares.iter().map(|(_, share)| share).sum();
        assert!((sum - 1.0).abs() < 1e-9);
    }
}
