//! `lockstone throttle …`: how fast the agent may send and fetch, and when. A change acts on a job that runs.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::agent::settings::throttle::ThrottleSettings;
use crate::agent::settings::window::Window;
use crate::agent::state::folder::StateFolder;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::failure::{Exit, Failure};
use crate::text::render;
use crate::text::units;

/// What to do with the throttle.
#[derive(Debug, Subcommand)]
pub(crate) enum ThrottleCommand {
    /// What is set, and what is in force now
    Show,
    /// Set limits; what is not named stays. Acts on a running job within a second
    #[command(
        after_help = "RATE: 512Kbps, 20Mbps (bits), 8MiB/s (bytes), unlimited, or 0, a pause.\nWINDOW: days, times and a rate, \
                      such as 'mon-fri 08:00-18:00 2Mbps', or 'sat,sun 22:00-06:00 up=unlimited down=8MiB/s'. While it is \
                      open its rates count instead of the others; of several, the first."
    )]
    Set(SetArgs),
    /// Remove all limits and windows
    Clear,
}

/// Options of `throttle set`.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct SetArgs {
    /// Send no faster than this outside of windows
    #[arg(long, value_name = "RATE", value_parser = checked_rate)]
    pub(crate) upload: Option<String>,
    /// Fetch no faster than this outside of windows
    #[arg(long, value_name = "RATE", value_parser = checked_rate)]
    pub(crate) download: Option<String>,
    /// Make no more requests a second than this; 0: as many as there are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub(crate) requests: Option<u32>,
    /// Other rates at some times, instead of all windows there were; may be given several times
    #[arg(long, value_name = "WINDOW", value_parser = checked_window)]
    pub(crate) window: Vec<String>,
    /// Whose clock the windows go by: a name such as Europe/Berlin, or `local`, the machine's
    #[arg(long, value_name = "ZONE", value_parser = checked_zone)]
    pub(crate) time_zone: Option<String>,
}

fn checked_rate(text: &str) -> Result<String, String> {
    units::rate(text).map(|_| text.trim().to_owned())
}

fn checked_window(text: &str) -> Result<String, String> {
    text.parse::<Window>().map(|_| text.trim().to_owned())
}

fn checked_zone(text: &str) -> Result<String, String> {
    match TimeZone::get(text) {
        Err(_) if text != "local" => Err(format!("there is no time zone {text:?}")),
        _ => Ok(text.to_owned()),
    }
}

/// Runs a throttle command.
///
/// # Errors
/// What failed, in words, with its exit code.
pub(crate) fn run(context: &Context, command: ThrottleCommand) -> Outcome {
    let home = StateFolder::locate()?;
    let bad = |why: String| {
        let hint = "`lockstone throttle clear` removes all limits";
        Failure::usage(format!("{}: {why}", home.throttle_settings().display()), hint)
    };
    let settings = match command {
        ThrottleCommand::Show => ThrottleSettings::load(&home.throttle_settings()).map_err(bad)?,
        ThrottleCommand::Set(args) => {
            let settings = changed(ThrottleSettings::load(&home.throttle_settings()).map_err(bad)?, args);
            settings.plan().map_err(bad)?;
            settings.save(&home)?;
            settings
        }
        ThrottleCommand::Clear => {
            let settings = ThrottleSettings::default();
            settings.save(&home)?;
            settings
        }
    };
    show(context, &settings).map_err(bad)?;
    Ok(Exit::Done)
}

fn changed(settings: ThrottleSettings, args: SetArgs) -> ThrottleSettings {
    let rate = |new: Option<String>, old| match new {
        Some(new) if new.eq_ignore_ascii_case("unlimited") => None,
        Some(new) => Some(new),
        None => old,
    };
    ThrottleSettings {
        upload: rate(args.upload, settings.upload),
        download: rate(args.download, settings.download),
        requests: args.requests.or(settings.requests).filter(|&requests| requests > 0),
        windows: if args.window.is_empty() {
            settings.windows
        } else {
            args.window
        },
        time_zone: args.time_zone.or(settings.time_zone).filter(|zone| zone != "local"),
    }
}

fn show(context: &Context, settings: &ThrottleSettings) -> Result<(), String> {
    let plan = settings.plan()?;
    let now = Timestamp::now();
    let (limits, open) = (plan.at(now), plan.open_at(now));
    context.out.document(&json!({
        "upload": settings.upload.as_deref().unwrap_or("unlimited"),
        "download": settings.download.as_deref().unwrap_or("unlimited"),
        "requests_per_second": settings.requests,
        "windows": settings.windows,
        "time_zone": settings.time_zone,
        "now": {
            "upload_bytes_per_second": limits.up,
            "download_bytes_per_second": limits.down,
            "windows": open.iter().filter_map(|&place| settings.windows.get(place)).collect::<Vec<_>>(),
        },
    }));
    let shown = |limit: &Option<String>| limit.clone().unwrap_or_else(|| "unlimited".to_owned());
    context.out.line(format!("Upload      {}", shown(&settings.upload)));
    context.out.line(format!("Download    {}", shown(&settings.download)));
    if let Some(requests) = settings.requests {
        context.out.line(format!("Requests    {requests} a second"));
    }
    for (place, window) in settings.windows.iter().enumerate() {
        let state = if open.contains(&place) { "  (open now)" } else { "" };
        context.out.line(format!("Window      {window}{state}"));
    }
    if !settings.windows.is_empty() {
        context.out.line(format!("Time zone   {}", plan.zone()));
    }
    let (up, down) = (in_force(limits.up), in_force(limits.down));
    context.out.line(format!("Now         up {up}, down {down}"));
    Ok(())
}

fn in_force(limit: Option<u64>) -> String {
    match limit {
        None => "unlimited".to_owned(),
        Some(0) => "paused".to_owned(),
        Some(limit) => format!("{}/s", render::bytes(limit)),
    }
}
