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

/// A rate in bits a second, as networks are measured: `8 Mbps`.
fn bits(bytes: u64) -> String {
    let bits = bytes.saturating_mul(8);
    let (number, unit) = match bits {
        0..1_000_000 => (bits, "Kbps"),
        1_000_000..1_000_000_000 => (bits / 1000, "Mbps"),
        _ => (bits / 1_000_000, "Gbps"),
    };
    let (whole, rest) = (number / 1000, number % 1000 / 10);
    match rest {
        0 => format!("{whole} {unit}"),
        rest => format!("{whole}.{rest:02} {unit}"),
    }
}

fn in_force(limit: Option<u64>) -> String {
    match limit {
        None => "unlimited".to_owned(),
        Some(0) => "paused".to_owned(),
        Some(limit) => format!("{} ({}/s)", bits(limit), render::bytes(limit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_in_force_is_said_as_it_was_set() {
        assert_eq!(in_force(Some(1_000_000)), "8 Mbps (976.56 KiB/s)");
        assert_eq!(in_force(Some(8 << 20)), "67.10 Mbps (8.00 MiB/s)");
        assert_eq!(in_force(Some(128)), "1.02 Kbps (128 B/s)");
        assert_eq!(in_force(Some(0)), "paused");
    }
}
