//! `lockstone metrics-page`: prints the page that is kept as `docs/metrics.md`.

use lockstone_actors::metrics::list;

use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::pages::PageDocument;
use crate::failure::Exit;

pub(crate) fn run(context: &Context) -> Outcome {
    let page = list::page();
    context.out.text(&page);
    context.out.document(&PageDocument { page });
    Ok(Exit::Done)
}
