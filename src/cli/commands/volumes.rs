//! `lockstone volumes`.

use std::os::unix::ffi::OsStrExt;

use anyhow::Context as _;

use crate::agent::volumes::{Volume, list};
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::volumes::{VolumeDocument, VolumesDocument};
use crate::failure::Exit;
use crate::text::render;

pub(crate) fn run(context: &Context) -> Outcome {
    let volumes = list().context("cannot list the volumes")?;
    context.out.document(&VolumesDocument {
        volumes: volumes.iter().map(document).collect(),
    });
    let row = |volume: &Volume| {
        vec![
            render::name(volume.mount.as_os_str().as_bytes()),
            render::name(volume.device.as_bytes()),
            volume.fs.clone(),
            if volume.verdict.eligible { "yes" } else { "no" }.to_owned(),
            volume.verdict.reason.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = volumes.iter().map(row).collect();
    let head = ["MOUNT", "DEVICE", "FS", "ELIGIBLE", "WHY"];
    context.out.text(&render::table(&head, &rows, &[]));
    Ok(Exit::Done)
}

fn document(volume: &Volume) -> VolumeDocument {
    VolumeDocument {
        mount: volume.mount.display().to_string(),
        device: volume.device.clone(),
        fs: volume.fs.clone(),
        eligible: volume.verdict.eligible,
        reason: volume.verdict.reason.clone(),
        temporary: volume.verdict.temporary,
    }
}
