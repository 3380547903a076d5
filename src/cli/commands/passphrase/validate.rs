//! `lockstone passphrase validate`.

use crate::agent::access::open::registered_vault;
use crate::agent::access::passphrase::PassphraseSource;
use crate::agent::access::right::registered;
use crate::agent::access::unlock::open_domain;
use crate::cli::context::Context;
use crate::cli::output::Outcome;
use crate::documents::passphrase::ValidPassphraseDocument;
use crate::failure::Exit;

pub(super) fn run(context: &Context) -> Outcome {
    let (_, registration) = registered()?;
    context.block_on(async {
        let vault = registered_vault(&context.environment, &registration).await?;
        let text = context.prompt.existing()?;
        open_domain(vault.store(), registration.domain_id, &text).await
    })?;
    context.out.document(&ValidPassphraseDocument { valid: true });
    context.out.line("This passphrase opens the backups of this server.");
    Ok(Exit::Done)
}
