//! `lockstone throttle set`.

use clap::Args;
use jiff::tz::TimeZone;

use super::show::show;
use super::{load, not_understood};
use crate::agent::settings::throttle::ThrottleSettings;
use crate::agent::settings::window::Window;
use crate::agent::state::folder::StateFolder;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::text::units;

/// Options of `throttle set`.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct SetArgs {
    /// Send no faster than this outside of windows
    #[arg(long, value_name = "RATE", value_parser = checked_rate)]
    upload: Option<String>,
    /// Fetch no faster than this outside of windows
    #[arg(long, value_name = "RATE", value_parser = checked_rate)]
    download: Option<String>,
    /// Make no more requests a second than this; 0: as many as there are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    requests: Option<u32>,
    /// Other rates at some times, instead of all windows there were; may be given several times
    #[arg(long, value_name = "WINDOW", value_parser = checked_window)]
    window: Vec<String>,
    /// Whose clock the windows go by: a name such as Europe/Berlin, or `local`, the machine's
    #[arg(long, value_name = "ZONE", value_parser = checked_zone)]
    time_zone: Option<String>,
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

pub(super) fn run(context: &Context, state: &StateFolder, args: SetArgs) -> Outcome {
    let settings = changed(load(state)?, args);
    settings.plan().map_err(|why| not_understood(state, &why))?;
    settings.save(state)?;
    show(context, state, &settings)
}

/// The settings with what was named. The rate `unlimited`, 0 requests and the zone `local` remove a setting.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays() {
        let old = ThrottleSettings {
            upload: Some("20Mbps".to_owned()),
            download: Some("8MiB/s".to_owned()),
            requests: Some(5),
            windows: vec!["mon 08:00-18:00 2Mbps".to_owned()],
            time_zone: Some("Europe/Berlin".to_owned()),
        };
        let args = SetArgs {
            upload: Some("Unlimited".to_owned()),
            download: None,
            requests: Some(0),
            window: Vec::new(),
            time_zone: Some("local".to_owned()),
        };
        let new = changed(old, args);
        assert_eq!((new.upload, new.requests, new.time_zone), (None, None, None));
        assert_eq!(new.download.as_deref(), Some("8MiB/s"));
        assert_eq!(new.windows.len(), 1);
    }
}
