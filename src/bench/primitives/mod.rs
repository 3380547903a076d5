//! What this machine can do, measured with the code that backs up: each step of a file's bytes on one core and on all
//! of them, reading and walking a source, writing to a disk and to a vault. From these figures `limit` computes what a
//! first backup of large and of small files will wait for.

mod cores;
mod files;
mod limit;
mod meter;
mod store;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use lockstone_actors::CancelToken;
use lockstone_vault::store::Store;
use serde::Serialize;
use tokio::runtime::Handle;

use self::limit::Limit;
use self::meter::{Figure, FigureDocument, Meter};
use super::Listener;
use crate::failure::Failure;
use crate::text::render;

/// What is measured, and for how long.
#[derive(Debug)]
pub(crate) struct Request {
    /// A folder to walk and to read. Without one, files are made in the scratch folder.
    pub(crate) path: Option<PathBuf>,
    /// The vault to write objects to. Without one, a folder in the scratch folder is used.
    pub(crate) vault: Option<String>,
    /// Where the scratch folder is made. Without one, in the system's temporary folder.
    pub(crate) scratch: Option<PathBuf>,
    /// How long each figure is measured.
    pub(crate) time: Duration,
    /// Threads for "all cores".
    pub(crate) threads: usize,
}

/// What the measurements use.
pub(crate) struct Tools<'a> {
    /// Runs the requests to the store.
    pub(crate) runtime: Handle,
    /// Opens the store of a vault's URL.
    pub(crate) open_store: &'a dyn Fn(&str) -> Result<Store, Failure>,
    pub(crate) cancel: CancelToken,
    pub(crate) listener: &'a dyn Listener,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Report {
    threads: usize,
    figures: Vec<Figure>,
    limits: [Limit; 2],
}

/// The report for scripts.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    cores: usize,
    figures: Vec<FigureDocument>,
    limits: Vec<limit::LimitDocument<'a>>,
}

/// Reads how many seconds each figure is measured.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.001..=60.0).contains(&seconds) => Ok(seconds),
        _ => Err("from 0.001 to 60 seconds".to_owned()),
    }
}

/// Measures everything.
pub(crate) fn run(request: &Request, tools: &Tools<'_>) -> Result<Report, Failure> {
    let mut meter = Meter {
        time: request.time,
        threads: request.threads,
        cancel: tools.cancel.clone(),
        figures: Vec::new(),
    };
    // The files that were found keep their folders open. If the limit cannot be raised, fewer of them fit.
    let _ = lockstone_host::process::raise_open_files();
    match measure(request, tools, &mut meter) {
        Err(_) if tools.cancel.is_cancelled() => return Err(Failure::cancelled()),
        measured => measured?,
    }
    let limits = [
        limit::of_large_files(&meter.figures),
        limit::of_small_files(&meter.figures),
    ];
    Ok(Report {
        threads: meter.threads,
        figures: meter.figures,
        limits,
    })
}

fn measure(request: &Request, tools: &Tools<'_>, meter: &mut Meter) -> Result<(), Failure> {
    let mut scratch = tempfile::Builder::new();
    scratch.prefix("lockstone-bench-");
    let scratch = match &request.scratch {
        Some(folder) => scratch.tempdir_in(folder),
        None => scratch.tempdir(),
    };
    let scratch = scratch.context("cannot make a scratch folder; --scratch DIR says where")?;
    tools.listener.note("measuring the cores");
    cores::measure(meter)?;
    tools.listener.note("measuring files");
    files::measure(meter, request.path.as_deref(), scratch.path())?;
    tools.listener.note("measuring the vault");
    let vault = scratch.path().join("vault");
    std::fs::create_dir(&vault).context("cannot make a folder to write to")?;
    let url = match &request.vault {
        Some(url) => url.as_str(),
        None => vault.to_str().context("the name of the scratch folder is not UTF-8")?,
    };
    let store = (tools.open_store)(url)?;
    Ok(store::measure(meter, &tools.runtime, store)?)
}

impl Report {
    /// The report for people: a table, and a sentence for each limit.
    pub(crate) fn text(&self) -> String {
        let row = |figure: &Figure| {
            let cell = |value| figure.unit.show(value);
            vec![
                figure.title.to_owned(),
                cell(figure.one),
                figure.all.map_or_else(String::new, cell),
            ]
        };
        let rows: Vec<Vec<String>> = self.figures.iter().map(row).collect();
        let all = format!("{} at once", self.threads);
        let mut text = render::table(&["", "one", &all], &rows, &[1, 2]);
        for limit in &self.limits {
            text.push('\n');
            text.push_str(&limit.sentence());
        }
        text.push('\n');
        text
    }

    /// The report for scripts.
    pub(crate) fn document(&self) -> Document<'_> {
        Document {
            cores: self.threads,
            figures: self.figures.iter().map(Figure::document).collect(),
            limits: self.limits.iter().map(Limit::document).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_positive_and_at_most_a_minute() {
        assert!(seconds("0").is_err() && seconds("-1").is_err() && seconds("1e9").is_err() && seconds("x").is_err());
        assert_eq!(seconds("0.05"), Ok(0.05));
    }
}
