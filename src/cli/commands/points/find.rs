//! `lockstone points find`. Matches are printed as they are found.

use std::ops::ControlFlow;

use clap::Args;
use lockstone_proto::vault::Entry;
use lockstone_vault::VaultError;
use lockstone_vault::log::Point;
use lockstone_vault::points::Findings;

use super::reading;
use crate::agent::access::paths::root;
use crate::agent::find::{ByTree, Pattern, find};
use crate::cli::access::AccessArgs;
use crate::cli::context::Context;
use crate::cli::output::{List, Outcome, Output, so_far};
use crate::documents::point::{EntryDocument, MatchDocument, NothingMore};
use crate::failure::Exit;
use crate::text::point::{entry_line, short};
use crate::text::render;

/// Options of `points find`.
#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    /// A glob for the name (`*.conf`), or for the whole path where it holds a slash (`/etc/**/*.conf`)
    pattern: String,
    /// Look only into this recovery point; into all of this server otherwise
    #[arg(long)]
    point: Option<String>,
    /// Capital letters and small ones are the same
    #[arg(short, long)]
    ignore_case: bool,
    #[command(flatten)]
    access: AccessArgs,
}

pub(super) fn run(context: &Context, args: &FindArgs) -> Outcome {
    let pattern = Pattern::new(&args.pattern, args.ignore_case)?;
    let (session, view) = reading::open(context, &args.access)?;
    let is_wanted = |point: &&Point| session.is_own(point.server) && point.forgotten.is_none();
    let chosen: Vec<&Point> = match &args.point {
        Some(name) => vec![session.point(&view, name)?],
        None => view.points.iter().rev().filter(is_wanted).collect(),
    };
    let roots = chosen.iter().map(|point| root(point)).collect::<Result<Vec<_>, _>>()?;
    so_far(reading::exit(&view, false));
    let mut show = Show {
        out: &context.out,
        list: context.out.list("matches"),
        points: &chosen,
        place: 0,
        has_heading: false,
        damaged: false,
    };
    let found = context.block_on(find(&session, roots, pattern, &mut show));
    let Show { mut list, damaged, .. } = show;
    if let Err(failure) = found {
        return Ok(list.fail(&failure));
    }
    if list.is_empty() {
        list.heading("nothing found");
    }
    list.end(&NothingMore {});
    Ok(reading::exit(&view, damaged))
}

/// Lists the matches, for people under a heading for each point.
struct Show<'a> {
    out: &'a Output,
    list: List,
    points: &'a [&'a Point],
    place: usize,
    has_heading: bool,
    damaged: bool,
}

impl ByTree for Show<'_> {
    fn come_to(&mut self, place: usize) {
        (self.place, self.has_heading) = (place, false);
    }
}

impl Findings for Show<'_> {
    fn found(&mut self, path: &[u8], entry: &Entry) -> ControlFlow<()> {
        let point = self.points[self.place];
        if !std::mem::replace(&mut self.has_heading, true) {
            let time = render::local_time(point.summary.started_s);
            self.list.heading(&format!("{}  {time}:", short(&point.id)));
        }
        let document = || MatchDocument {
            entry: EntryDocument::new(path, entry),
            point: point.id,
        };
        self.list.item(|| entry_line(path, entry), document);
        ControlFlow::Continue(())
    }

    fn damaged(&mut self, path: &[u8], error: VaultError) {
        self.damaged = true;
        so_far(Exit::Damaged);
        self.out.warn(format!("{} cannot be read: {error}", render::name(path)));
    }
}
