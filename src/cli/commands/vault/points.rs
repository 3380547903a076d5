//! `lockstone vault points`.

use super::{ServerArgs, damage_documents, warn_of_damage};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::point::{OperatorPointsDocument, PointSummaryDocument};
use crate::operator::points::{self, ServerPoint};
use crate::text::{point, render};

pub(super) fn run(context: &Context, args: &ServerArgs) -> Outcome {
    let listed = points::list(&context.environment, &args.url, args.server.as_deref());
    let (points, damaged) = context.block_on(listed)?;
    let document = |ServerPoint { server, point }: &ServerPoint| {
        PointSummaryDocument::new(point.id, server, &point.summary, point.forgotten, point.held).lossy(point.lossy)
    };
    context.out.document(&OperatorPointsDocument {
        points: points.iter().map(document).collect(),
        damaged: damage_documents(&damaged),
    });
    let row = |ServerPoint { server, point }: &ServerPoint| {
        let remarks: &[&str] = match (point.forgotten, point.held) {
            (Some(_), _) => &["deleted"],
            (None, true) => &["held"],
            (None, false) => &[],
        };
        point::row(&point.id, server, &point.summary, remarks)
    };
    let rows: Vec<Vec<String>> = points.iter().map(row).collect();
    context.out.text(&render::table(&point::HEAD, &rows, &point::RIGHT));
    Ok(warn_of_damage(context, &damaged))
}
