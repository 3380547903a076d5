//! `lockstone throttle show`. The other `throttle` commands end with the same answer.

use jiff::Timestamp;

use super::{load, not_understood};
use crate::agent::settings::throttle::ThrottleSettings;
use crate::agent::state::folder::StateFolder;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::throttle::{LimitsNow, ThrottleDocument};
use crate::failure::Exit;
use crate::text::render;

pub(super) fn run(context: &Context, state: &StateFolder) -> Outcome {
    show(context, state, &load(state)?)
}

/// Shows what is set, and what is in force now.
pub(super) fn show(context: &Context, state: &StateFolder, settings: &ThrottleSettings) -> Outcome {
    let plan = settings.plan().map_err(|why| not_understood(state, &why))?;
    let now = Timestamp::now();
    let (limits, open) = (plan.at(now), plan.open_at(now));
    let rate = |limit: &Option<String>| limit.clone().unwrap_or_else(|| "unlimited".to_owned());
    let (upload, download) = (rate(&settings.upload), rate(&settings.download));
    let out = &context.out;
    out.line(format!("Upload      {upload}"));
    out.line(format!("Download    {download}"));
    if let Some(requests) = settings.requests {
        out.line(format!("Requests    {requests} a second"));
    }
    for (place, window) in settings.windows.iter().enumerate() {
        let state = if open.contains(&place) { "  (open now)" } else { "" };
        out.line(format!("Window      {window}{state}"));
    }
    if !settings.windows.is_empty() {
        out.line(format!("Time zone   {}", plan.zone()));
    }
    out.line(format!(
        "Now         up {}, down {}",
        in_force(limits.up),
        in_force(limits.down)
    ));
    let open_windows = open.iter().filter_map(|&place| settings.windows.get(place));
    out.document(&ThrottleDocument {
        upload,
        download,
        requests_per_second: settings.requests,
        windows: settings.windows.clone(),
        time_zone: settings.time_zone.clone(),
        now: LimitsNow {
            upload_bytes_per_second: limits.up,
            download_bytes_per_second: limits.down,
            windows: open_windows.cloned().collect(),
        },
    });
    Ok(Exit::Done)
}

fn in_force(limit: Option<u64>) -> String {
    match limit {
        None => "unlimited".to_owned(),
        Some(0) => "paused".to_owned(),
        Some(limit) => format!("{}/s", render::bytes(limit)),
    }
}
