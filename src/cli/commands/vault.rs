//! `lockstone vault …`: the operator's side. No passphrase: the operator sees servers, jobs and points, never content.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use lockstone_proto::access::Region;
use lockstone_proto::ids::{JobId, PointId, ServerId, VaultId};
use lockstone_vault::VaultError;
use lockstone_vault::access::credentials::{Issue, OperatorKey};
use lockstone_vault::access::job_records::list_jobs;
use lockstone_vault::access::registration::Servers;
use lockstone_vault::damage::Damage;
use lockstone_vault::vault::{CreateOptions, Vault};
use serde_json::{Value, json};

use super::points::{status_word, summary_value};
use crate::agent::state::files::{private_folder, write_atomically};
use crate::agent::state::folder::StateFolder;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::failure::{Exit, Failure};
use crate::text::point::short;
use crate::text::render;
use crate::text::units;

/// What to do with a vault.
#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Make a vault: in a folder, which is made too, or in a bucket or container, which must be there
    Create(CreateArgs),
    /// Issue credentials by which servers register, and restore
    Credentials(CredentialsArgs),
    /// List the servers of a vault
    Servers(UrlArgs),
    /// List the jobs of a vault's servers, oldest first
    Jobs(ServerArgs),
    /// List the recovery points of a vault's servers, oldest first
    Points(ServerArgs),
}

/// Options of `vault create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Where: a path, file:///dir, s3://bucket/prefix or az://container/prefix
    #[arg(value_parser = units::vault_url)]
    pub(crate) url: String,
    /// Where its secondary region is
    #[arg(long, value_name = "URL", value_parser = units::vault_url)]
    pub(crate) secondary: Option<String>,
    /// Whose vault it is; a note for the operator
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<String>,
    /// For so many days a deleted recovery point can be brought back
    #[arg(long, value_name = "DAYS", default_value_t = 14, value_parser = clap::value_parser!(u32).range(0..=3650))]
    pub(crate) soft_delete_days: u32,
}

/// Options of `vault credentials`.
#[derive(Debug, Args)]
pub(crate) struct CredentialsArgs {
    /// The vault
    #[arg(value_parser = units::vault_url)]
    pub(crate) url: String,
    /// The file to write, or a folder for it; `.vaultcredentials` is added where the name does not end in it
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The region they are good for; those of the secondary region only restore
    #[arg(long, value_enum, default_value_t = RegionName::Primary)]
    pub(crate) region: RegionName,
    /// How long they are good
    #[arg(long, value_name = "DAYS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=3650))]
    pub(crate) valid_days: u32,
}

/// A region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RegionName {
    /// Where backups go
    Primary,
    /// Its replica
    Secondary,
}

/// A vault.
#[derive(Debug, Args)]
pub(crate) struct UrlArgs {
    /// The vault
    #[arg(value_parser = units::vault_url)]
    pub(crate) url: String,
}

/// A vault, and maybe one of its servers.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// The vault
    #[arg(value_parser = units::vault_url)]
    pub(crate) url: String,
    /// Only this server (a name, or an id)
    #[arg(long, value_name = "SERVER")]
    pub(crate) server: Option<String>,
}

/// The end of a credentials file's name.
const SUFFIX: &str = "vaultcredentials";

/// Runs a vault command.
///
/// # Errors
/// What failed, in words, with its exit code.
pub(crate) fn run(context: &Context, command: VaultCommand) -> Outcome {
    match command {
        VaultCommand::Create(args) => create(context, args),
        VaultCommand::Credentials(args) => credentials(context, &args),
        VaultCommand::Servers(args) => servers(context, &args),
        VaultCommand::Jobs(args) => jobs(context, &args),
        VaultCommand::Points(args) => points(context, &args),
    }
}

fn create(context: &Context, args: CreateArgs) -> Outcome {
    let home = StateFolder::locate()?;
    home.prepare()?;
    let operator = OperatorKey::generate().map_err(VaultError::from)?;
    let key_file = home.operator_key(operator.vault_id());
    let store = context.environment.store_to_make(&args.url)?;
    let options = CreateOptions {
        secondary_url: args.secondary,
        tenant: args.tenant,
        soft_delete_days: args.soft_delete_days,
        now: Timestamp::now(),
    };
    // The key is durable before the vault exists: a vault without its key could admit nobody, ever.
    private_folder(&home.root().join("operator")).context("cannot make the operator's folder")?;
    write_atomically(&key_file, operator.to_text().as_bytes(), 0o600)?;
    let (vault, probe) = match context.block_on(Vault::create(store, &operator, &options)) {
        Ok(made) => made,
        Err(error) => {
            let _ = std::fs::remove_file(&key_file);
            return Err(error.into());
        }
    };
    context.out.document(&json!({
        "vault": vault.id(),
        "url": vault.store().url(),
        "operator_key_file": key_file,
        "soft_delete_days": vault.descriptor().soft_delete_days,
        "probe": {
            "create_if_absent": probe.create_if_absent,
            "read_after_write": probe.read_after_write,
            "listed_after_write": probe.listed_after_write,
        },
    }));
    context
        .out
        .line(format!("Vault {} in {}", vault.id(), vault.store().url()));
    for line in probe.lines() {
        context.out.line(format!("  {line}"));
    }
    context.out.line(format!(
        "  operator's key: {} (keep a copy: it alone admits servers)",
        key_file.display()
    ));
    Ok(Exit::Done)
}

fn credentials(context: &Context, args: &CredentialsArgs) -> Outcome {
    let home = StateFolder::locate()?;
    let vault = open(context, &args.url)?;
    let key_file = home.operator_key(vault.id());
    let text = std::fs::read_to_string(&key_file)
        .map(zeroize::Zeroizing::new)
        .map_err(|error| {
            let message = format!(
                "cannot read the operator's key of this vault, {}: {error}",
                key_file.display()
            );
            Failure::refused(
                "no-operator-key",
                message,
                "issue credentials where the vault was created, or copy the key here",
            )
        })?;
    let operator = OperatorKey::from_text(&text)?;
    let regions = &vault.descriptor().regions;
    let url_of = |name: &str| {
        regions
            .iter()
            .find(|region| region.name == name)
            .map(|region| region.url.clone())
    };
    let secondary = url_of("secondary");
    let (region, url) = match args.region {
        RegionName::Primary => (Region::Primary, vault.store().url().to_owned()),
        RegionName::Secondary => {
            let message = "this vault has no secondary region";
            let hint = "only a vault created with --secondary has one";
            let url = secondary
                .clone()
                .ok_or_else(|| Failure::failed("no-secondary", message, hint))?;
            (Region::Secondary, url)
        }
    };
    let issue = Issue {
        region,
        url,
        secondary_url: secondary,
        now: Timestamp::now(),
        valid_days: args.valid_days,
    };
    let issued = operator.issue(&issue)?;
    let file = credentials_file(&args.out, vault.id());
    write_atomically(&file, issued.to_text().as_bytes(), 0o600)?;
    context.out.document(&json!({
        "vault": vault.id(), "file": file, "region": region_word(region), "expires": issued.expires().to_string(),
    }));
    context
        .out
        .line(format!("Credentials for {} in {}", issued.url(), file.display()));
    context.out.line(format!(
        "  good until {}",
        render::local_time(issued.expires().as_second())
    ));
    Ok(Exit::Done)
}

fn region_word(region: Region) -> &'static str {
    match region {
        Region::Secondary => "secondary",
        Region::Primary | Region::Unspecified => "primary",
    }
}

fn credentials_file(out: &Path, vault: VaultId) -> PathBuf {
    if out.is_dir() {
        return out.join(format!("lockstone-{}.{SUFFIX}", &vault.hex()[..8]));
    }
    if out.extension().is_some_and(|extension| extension == SUFFIX) {
        return out.to_owned();
    }
    let mut name = out.as_os_str().to_owned();
    name.push(".");
    name.push(SUFFIX);
    PathBuf::from(name)
}

fn open(context: &Context, url: &str) -> Result<Vault, Failure> {
    Ok(context.block_on(Vault::open(context.environment.store(url)?))?)
}

fn servers(context: &Context, args: &UrlArgs) -> Outcome {
    let vault = open(context, &args.url)?;
    let (servers, damaged) = context.block_on(vault.servers())?;
    let mut all: Vec<_> = servers.iter().collect();
    all.sort_by(|a, b| a.name.cmp(&b.name).then(a.registered.cmp(&b.registered)));
    let value = |server: &&lockstone_vault::access::registration::Server| {
        json!({
            "server": server.name, "id": server.id, "domain_id": server.domain, "registered": server.registered.to_string(),
        })
    };
    let values: Vec<Value> = all.iter().map(value).collect();
    context
        .out
        .document(&json!({ "servers": values, "damaged": damage_values(&damaged) }));
    let row = |server: &&lockstone_vault::access::registration::Server| {
        vec![
            render::name(server.name.as_bytes()),
            server.id.hex(),
            server.domain.hex()[..8].to_owned(),
            render::local_time(server.registered.as_second()),
        ]
    };
    let rows: Vec<Vec<String>> = all.iter().map(row).collect();
    context
        .out
        .text(&render::table(&["SERVER", "ID", "DOMAIN", "REGISTERED"], &rows, &[]));
    Ok(say_damage(context, &damaged))
}

/// Whether a record of this server is wanted.
fn wanted(args: &ServerArgs, servers: &Servers, server: ServerId) -> bool {
    args.server
        .as_ref()
        .is_none_or(|name| server.hex() == *name || server_word(servers, server) == *name)
}

fn server_word(servers: &Servers, server: ServerId) -> String {
    servers
        .get(server)
        .map_or_else(|| server.hex(), |known| known.name.clone())
}

fn known_server(args: &ServerArgs, servers: &Servers) -> Result<(), Failure> {
    match &args.server {
        Some(name)
            if !servers
                .iter()
                .any(|known| known.name == *name || known.id.hex() == *name) =>
        {
            Err(Failure::failed(
                "no-such-server",
                format!("this vault has no server {name:?}"),
                "see `lockstone vault servers`",
            ))
        }
        _ => Ok(()),
    }
}

fn jobs(context: &Context, args: &ServerArgs) -> Outcome {
    let vault = open(context, &args.url)?;
    let (servers, mut damaged) = context.block_on(vault.servers())?;
    known_server(args, &servers)?;
    let (records, more) = context.block_on(list_jobs(vault.store(), vault.id(), &servers, None))?;
    damaged.extend(more);
    let mut values = Vec::new();
    let mut rows = Vec::new();
    for record in &records {
        // The listing checked the lengths of the ids.
        let (Ok(server), Ok(job)) = (
            ServerId::try_from(&record.server_id[..]),
            JobId::try_from(&record.job_id[..]),
        ) else {
            continue;
        };
        if !wanted(args, &servers, server) {
            continue;
        }
        let point = PointId::try_from(&record.point_id[..]).ok();
        let name = server_word(&servers, server);
        values.push(json!({
            "job": job,
            "server": name,
            "kind": record.kind().word(),
            "status": record.state().word(),
            "started": render::utc_time(record.started_s, 0),
            "ended": render::utc_or_null(record.ended_s),
            "files": record.files,
            "bytes": record.bytes,
            "stored_bytes": record.stored_bytes,
            "warnings": record.warnings,
            "restarts": record.restarts,
            "point": point,
            "error": if record.error_code.is_empty() { Value::Null } else { json!(record.error_code) },
        }));
        rows.push(vec![
            job.hex()[..8].to_owned(),
            render::name(name.as_bytes()),
            record.kind().word().to_owned(),
            render::local_time(record.started_s),
            record.state().word().to_owned(),
            render::count(record.files),
            render::bytes(record.bytes),
            render::bytes(record.stored_bytes),
            point.map(|id| short(&id)).unwrap_or_default(),
        ]);
    }
    context
        .out
        .document(&json!({ "jobs": values, "damaged": damage_values(&damaged) }));
    let head = [
        "JOB", "SERVER", "KIND", "STARTED", "STATUS", "FILES", "SIZE", "STORED", "POINT",
    ];
    context.out.text(&render::table(&head, &rows, &[5, 6, 7]));
    Ok(say_damage(context, &damaged))
}

fn points(context: &Context, args: &ServerArgs) -> Outcome {
    let vault = open(context, &args.url)?;
    let (servers, mut damaged) = context.block_on(vault.servers())?;
    known_server(args, &servers)?;
    let mut found = Vec::new();
    for domain in context.block_on(vault.domains())? {
        let (points, more) = context.block_on(vault.points(domain))?;
        damaged.extend(more);
        found.extend(points.into_iter().filter(|point| wanted(args, &servers, point.server)));
    }
    found.sort_by_key(|point| (point.summary.started_s, point.summary.started_ns, point.n));
    let mut values = Vec::new();
    let mut rows = Vec::new();
    for point in &found {
        let name = server_word(&servers, point.server);
        let mut value = summary_value(&point.id, &name, &point.summary);
        value.insert(
            "deleted".to_owned(),
            point.forgotten.map_or(Value::Null, |at| json!(render::utc_time(at, 0))),
        );
        values.push(Value::Object(value));
        let deleted = if point.forgotten.is_some() { ", deleted" } else { "" };
        rows.push(vec![
            short(&point.id),
            render::local_time(point.summary.started_s),
            render::name(name.as_bytes()),
            render::count(point.summary.files),
            render::bytes(point.summary.bytes),
            render::bytes(point.summary.stored_bytes),
            format!("{}{deleted}", status_word(&point.summary)),
        ]);
    }
    context
        .out
        .document(&json!({ "points": values, "damaged": damage_values(&damaged) }));
    let head = ["POINT", "TIME", "SERVER", "FILES", "SIZE", "STORED", "STATUS"];
    context.out.text(&render::table(&head, &rows, &[3, 4, 5]));
    Ok(say_damage(context, &damaged))
}

fn damage_values(damaged: &[Damage]) -> Value {
    let value =
        |damage: &Damage| json!({ "object": damage.object, "kind": damage.kind.name(), "reason": damage.reason });
    damaged.iter().map(value).collect()
}

/// Says what could not be read; what was listed is the rest.
fn say_damage(context: &Context, damaged: &[Damage]) -> Exit {
    for damage in damaged {
        context
            .out
            .warn(format!("the vault is damaged: {}: {}", damage.object, damage.reason));
    }
    if damaged.is_empty() { Exit::Done } else { Exit::Warnings }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credentials_file_ends_as_it_should() {
        let id = VaultId([0xab; 16]);
        assert_eq!(
            credentials_file(Path::new("/x/web"), id),
            Path::new("/x/web.vaultcredentials")
        );
        assert_eq!(
            credentials_file(Path::new("/x/a.vaultcredentials"), id),
            Path::new("/x/a.vaultcredentials")
        );
        assert_eq!(
            credentials_file(Path::new("/"), id),
            Path::new("/lockstone-abababab.vaultcredentials")
        );
    }
}
