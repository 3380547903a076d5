//! `lockstone passphrase slots` and `passphrase revoke`: what opens these backups, and ending that.

use clap::Args;
use lockstone_proto::ids::ServerId;
use lockstone_proto::vault::{KeySlot, SlotKind};
use lockstone_vault::access::registration::Servers;
use lockstone_vault::crypto::slot_store::list_slots;
use lockstone_vault::vault::Vault;

use crate::agent::access::open::{own_master_key, registered_vault, servers};
use crate::agent::access::right::registered;
use crate::agent::access::slots::{self, kind_word};
use crate::agent::state::machine_key::MachineKey;
use crate::agent::state::registration::Registration;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::passphrase::{RevokedSlotDocument, SlotDocument, SlotsDocument};
use crate::failure::{Exit, Failure};
use crate::text::render;

/// The least number of digits by which a slot is named.
const PREFIX_MIN: usize = 6;

/// Options of `passphrase revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The key slot: its id, or 6 or more digits of its beginning (see `passphrase slots`)
    slot: String,
    /// Revoke this machine's own slot, too: it needs the passphrase for everything from then on
    #[arg(long)]
    this_machine: bool,
}

/// The slots of this server's domain, and whose they are.
struct Found {
    vault: Vault,
    registration: Registration,
    servers: Servers,
    slots: Vec<KeySlot>,
    damaged: bool,
}

impl Found {
    fn is_own(&self, slot: &KeySlot) -> bool {
        slot.server_id == self.registration.server_id.as_ref()
    }

    fn document(&self, slot: &KeySlot) -> SlotDocument {
        let server_id = ServerId::try_from(slot.server_id.as_ref()).ok();
        let server = server_id.and_then(|id| self.servers.get(id));
        SlotDocument {
            id: hex::encode(&slot.slot_id),
            kind: kind_word(slot.kind()),
            created: render::utc_time(slot.created_s, 0),
            server: server.map(|server| server.name.clone()),
            server_id,
            this_machine: self.is_own(slot),
        }
    }
}

async fn find(context: &Context) -> Result<Found, Failure> {
    let (_, registration) = registered()?;
    let environment = &context.environment;
    let vault = registered_vault(environment, &registration).await?;
    let servers = servers(environment, &vault).await?;
    let (slots, damage) = list_slots(vault.store(), registration.domain_id).await?;
    for damage in &damage {
        environment.notices.damaged(damage);
    }
    Ok(Found {
        vault,
        registration,
        servers,
        slots,
        damaged: !damage.is_empty(),
    })
}

pub(super) fn list(context: &Context) -> Outcome {
    let found = context.block_on(find(context))?;
    let slots: Vec<SlotDocument> = found.slots.iter().map(|slot| found.document(slot)).collect();
    let row = |slot: &SlotDocument| {
        let whose = match (&slot.server, slot.this_machine) {
            (Some(server), true) => format!("{server} (this machine)"),
            (Some(server), false) => server.clone(),
            (None, _) => slot.server_id.map(|id| id.hex()).unwrap_or_default(),
        };
        vec![
            slot.id.clone(),
            slot.kind.to_owned(),
            slot.created.clone(),
            render::name(whose.as_bytes()),
        ]
    };
    let rows: Vec<Vec<String>> = slots.iter().map(row).collect();
    let head = ["SLOT", "KIND", "CREATED", "SERVER"];
    context.out.text(&render::table(&head, &rows, &[]));
    context.out.document(&SlotsDocument { slots });
    Ok(if found.damaged { Exit::Warnings } else { Exit::Done })
}

pub(super) fn revoke(context: &Context, args: &RevokeArgs) -> Outcome {
    let slot = context.block_on(async {
        let found = find(context).await?;
        let slot = choose(&found.slots, &args.slot)?;
        if found.is_own(slot) && !args.this_machine {
            let message = "this is the key slot of this machine: without it, every backup needs the passphrase";
            let hint =
                "add `--this-machine` if that is wanted; `lockstone unregister` gives up the registration as a whole";
            return Err(Failure::refused("own-slot", message, hint));
        }
        // Only who can open the backups decides what opens them.
        let machine = MachineKey::load(&registered()?.0)?;
        own_master_key(&context.environment, &found.vault, &found.registration, &machine).await?;
        slots::remove(found.vault.store(), found.registration.domain_id, slot).await?;
        Ok::<_, Failure>(found.document(slot))
    })?;
    context
        .out
        .line(format!("The {} slot {} opens nothing any more.", slot.kind, slot.id));
    if slot.kind == kind_word(SlotKind::Machine) {
        context
            .out
            .line("Who had that machine may have read the key itself: docs/operations.md, \"A stolen machine\".");
    }
    context.out.document(&RevokedSlotDocument { revoked: slot });
    Ok(Exit::Done)
}

fn choose<'s>(slots: &'s [KeySlot], word: &str) -> Result<&'s KeySlot, Failure> {
    let wanted = word.to_ascii_lowercase();
    let mut found = slots
        .iter()
        .filter(|slot| wanted.len() >= PREFIX_MIN && hex::encode(&slot.slot_id).starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(slot), None) => Ok(slot),
        (Some(_), Some(_)) => Err(Failure::failed(
            "ambiguous",
            format!("several key slots begin with {word:?}"),
            "give more digits",
        )),
        (None, _) => Err(Failure::failed(
            "no-such-slot",
            format!("these backups have no key slot {word:?}"),
            "see `lockstone passphrase slots`",
        )),
    }
}
