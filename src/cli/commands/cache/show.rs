//! What `cache check`, `rebuild` and `move` say at the end.

use super::HeldCache;
use crate::agent::access::session::Session;
use crate::agent::cache::rules::{Finding, State};
use crate::agent::cache::{folder, sentence};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::cache::{CacheDocument, RuleDocument};
use crate::failure::{Exit, Failure};
use crate::text::render;

/// What is in a cache folder that is up to date.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    log_entries: u64,
    points: usize,
}

/// Opens the cache folder, which brings it up to date.
pub(super) fn open(context: &Context, cache: &HeldCache) -> Result<Opened, Failure> {
    context.block_on(async {
        let session = Session::open(&context.environment, &cache.state, &cache.registration).await?;
        let view = session.view(&context.environment).await?;
        Ok::<_, Failure>(Opened {
            log_entries: view.head.n,
            points: view.points.len(),
        })
    })
}

/// Shows the folder and what the rules say. Exit 1 if a rule refuses it, 3 if one warns.
pub(super) fn show(context: &Context, cache: &HeldCache, opened: Option<Opened>, findings: &[Finding]) -> Outcome {
    let place = cache.registration.cache_folder(&cache.state);
    let bytes = folder::size(&place);
    let worst = findings.iter().map(|finding| finding.state).max().unwrap_or(State::Ok);
    context.out.document(&CacheDocument {
        ok: opened.is_some() && worst < State::Refuse,
        folder: place.clone(),
        bytes,
        log_entries: opened.map(|opened| opened.log_entries),
        points: opened.map(|opened| opened.points),
        rules: findings.iter().map(rule).collect(),
        old_folder: cache.registration.old_cache.clone(),
    });
    for finding in findings.iter().filter(|finding| finding.state > State::Ok) {
        context.out.warn(sentence(&place, finding));
    }
    let size = render::bytes(bytes);
    context.out.line(match opened {
        Some(opened) => format!(
            "{} is up to date: {size}, log entry {}, {}",
            place.display(),
            render::count(opened.log_entries),
            render::counted(opened.points as u64, "recovery point", "recovery points")
        ),
        None => format!("{} was not opened: {size}", place.display()),
    });
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|finding| {
            vec![
                finding.rule.to_string(),
                finding.state.to_string(),
                finding.reason.clone(),
            ]
        })
        .collect();
    context
        .out
        .text(&render::table(&["RULE", "STATE", "REASON"], &rows, &[]));
    if let Some(old) = &cache.registration.old_cache {
        let old = old.display();
        context
            .out
            .line(format!("The old folder {old} is removed after the next good backup."));
    }
    Ok(match (worst, opened) {
        (State::Refuse, _) => Exit::Failed,
        (State::Warn, _) | (State::Ok, None) => Exit::Warnings,
        (State::Ok, Some(_)) => Exit::Done,
    })
}

fn rule(finding: &Finding) -> RuleDocument {
    RuleDocument {
        rule: finding.rule.to_string(),
        state: finding.state.to_string(),
        reason: finding.reason.clone(),
    }
}
