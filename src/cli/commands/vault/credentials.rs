//! `lockstone vault credentials`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lockstone_proto::access::Region;

use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::vault::{CredentialsDocument, IssuedCredentialsDocument};
use crate::failure::Exit;
use crate::operator::credentials::{Wanted, issue};
use crate::text::{render, units};

/// Options of `vault credentials`.
#[derive(Debug, Args)]
pub(crate) struct CredentialsArgs {
    /// The vault
    #[arg(value_parser = units::vault_url)]
    url: String,
    /// The file to write, or a folder for it; `.vaultcredentials` is added where the name does not end in it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The region they are good for; those of the secondary region only restore
    #[arg(long, value_enum, default_value_t = RegionName::Primary)]
    region: RegionName,
    /// How long they are good; with 0 they have expired at once
    #[arg(long, value_name = "DAYS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=3650))]
    valid_days: u32,
}

/// A region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RegionName {
    /// Where backups go
    Primary,
    /// Its replica
    Secondary,
}

pub(super) fn run(context: &Context, args: &CredentialsArgs) -> Outcome {
    let wanted = Wanted {
        url: &args.url,
        out: &args.out,
        region: match args.region {
            RegionName::Primary => Region::Primary,
            RegionName::Secondary => Region::Secondary,
        },
        valid_days: args.valid_days,
    };
    let issued = context.block_on(issue(&context.environment, &wanted))?;
    let (credentials, out) = (&issued.credentials, &context.out);
    out.document(&IssuedCredentialsDocument {
        file: issued.file.clone(),
        credentials: CredentialsDocument::from(credentials),
    });
    out.line(format!(
        "Credentials for {} in {}",
        credentials.url(),
        issued.file.display()
    ));
    let expires = render::local_time(credentials.expires().as_second());
    if args.valid_days == 0 {
        out.warn("these credentials have expired already, because of `--valid-days 0`: no server can use them");
    } else {
        out.line(format!("  good until {expires}"));
    }
    out.line(format!(
        "  id {}, by which `lockstone vault revoke` ends them",
        credentials.id()
    ));
    Ok(Exit::Done)
}
