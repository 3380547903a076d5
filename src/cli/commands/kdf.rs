//! The options of the commands that make a passphrase slot.

use clap::Args;
use lockstone_vault::crypto::slots::KdfParams;

/// What deriving the key of a new passphrase slot costs. The defaults are right for servers; tests take less.
#[derive(Debug, Clone, Args)]
pub(super) struct KdfArgs {
    /// Memory of the passphrase's key derivation, MiB
    #[arg(long, value_name = "N", hide = true, default_value_t = 256, value_parser = clap::value_parser!(u32).range(8..=2048))]
    kdf_memory_mib: u32,
    /// Passes of the passphrase's key derivation
    #[arg(long, value_name = "N", hide = true, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=16))]
    kdf_passes: u32,
}

impl KdfArgs {
    pub(super) fn params(&self) -> KdfParams {
        KdfParams {
            memory_kib: self.kdf_memory_mib * 1024,
            passes: self.kdf_passes,
            ..KdfParams::default()
        }
    }
}
