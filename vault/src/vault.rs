//! The vault as a whole: how the operator makes it, how it is opened, and what can be seen without a passphrase.
//! Everything that needs a key begins at `Domain`.

use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use jiff::{SignedDuration, Timestamp};
use lockstone_proto::ids::{CredentialId, DomainId, ServerId, VaultId};
use lockstone_proto::limits::RECORD_MAX;

use crate::access::credentials::{CredentialsError, OperatorKey, VaultCredentials};
use crate::access::descriptor::{Descriptor, Features, RegionUrl, SOFT_DELETE_DAYS};
use crate::access::orders::{self, Decision, Orders};
pub use crate::access::registration::VaultPin;
use crate::access::registration::{NewServer, Servers, register};
use crate::damage::{Damage, DamageKind};
use crate::error::VaultError;
use crate::log::{DomainOverview, PointOverview, overview};
use crate::store::probe::{PROBES, ProbeReport, probe};
use crate::store::{Created, Store, names};

/// Clocks that differ by less count as the same.
pub(crate) const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(1);

/// What the operator decides when making a vault.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    /// The vault URL of the secondary region.
    pub secondary_url: Option<String>,
    /// The customer whose backups these will be, if the operator has several.
    pub tenant: Option<String>,
    /// How long a deleted point can be brought back, days.
    pub soft_delete_days: u32,
    /// The time of creation.
    pub now: Timestamp,
}

/// A vault. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Vault {
    store: Store,
    descriptor: Arc<Descriptor>,
}

impl Vault {
    /// Makes a vault in an empty store, after a probe that the store can hold one. The vault's id comes from the
    /// operator's key. Nothing is written if the store holds a vault or anything else.
    pub async fn create(
        store: Store,
        operator: &OperatorKey,
        options: &CreateOptions,
    ) -> Result<(Self, ProbeReport), VaultError> {
        let url = store.url().to_owned();
        // Lists first: that answer says most clearly what is wrong with keys or bucket.
        if !is_empty(&store).await? {
            let there = store.head(names::DESCRIPTOR).await?.is_some();
            return Err(if there {
                VaultError::AlreadyAVault { url }
            } else {
                VaultError::NotEmpty { url }
            });
        }
        let report = probe(&store).await?;
        if !report.is_fit() {
            return Err(VaultError::Unfit {
                url,
                lines: report.lines(),
            });
        }
        let mut regions = vec![RegionUrl {
            name: "primary".to_owned(),
            url: absolute_url(&store),
        }];
        if let Some(url) = options.secondary_url.clone() {
            regions.push(RegionUrl {
                name: "secondary".to_owned(),
                url,
            });
        }
        let descriptor = Descriptor {
            vault_id: operator.vault_id(),
            operator_key: operator.public(),
            created: options.now,
            regions,
            tenant: options.tenant.clone(),
            soft_delete_days: options.soft_delete_days,
            features: Features::of_new_vault(),
        };
        let object = descriptor.to_json(operator.signing())?;
        match store.create(names::DESCRIPTOR, object.into_bytes()).await? {
            Created::New => Ok((
                Self {
                    store,
                    descriptor: Arc::new(descriptor),
                },
                report,
            )),
            Created::Exists => Err(VaultError::AlreadyAVault { url }),
        }
    }

    /// Opens a vault of which only the URL is known. The operator that its descriptor names is trusted on first use.
    pub async fn open(store: Store) -> Result<Self, VaultError> {
        let object = match store.get(names::DESCRIPTOR, RECORD_MAX).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => {
                if store.folders(names::DOMAINS).await?.is_empty() && store.folders(names::SERVERS).await?.is_empty() {
                    return Err(VaultError::NotAVault {
                        url: store.url().to_owned(),
                    });
                }
                return Err(VaultError::damaged(
                    DamageKind::Descriptor,
                    names::DESCRIPTOR,
                    "it is missing",
                ));
            }
            Err(error) if error.is_object_fault() => {
                return Err(VaultError::damaged(DamageKind::Descriptor, names::DESCRIPTOR, error));
            }
            Err(error) => return Err(error.into()),
        };
        let descriptor = Descriptor::parse(&object)?;
        Ok(Self {
            store,
            descriptor: Arc::new(descriptor),
        })
    }

    /// Opens the vault that this machine is registered with. It opens even if the descriptor is damaged or missing,
    /// because everything else is signed by keys that the pin vouches for. `OtherVault` if another vault is at that
    /// URL.
    pub async fn open_pinned(store: Store, pin: &VaultPin) -> Result<(Self, Option<Damage>), VaultError> {
        match Self::open(store.clone()).await {
            Ok(vault) if vault.id() == pin.vault_id && vault.operator_key() == &pin.operator_key => Ok((vault, None)),
            Ok(_) => Err(VaultError::OtherVault {
                url: store.url().to_owned(),
            }),
            Err(VaultError::Damaged { kind, object, reason }) => {
                let descriptor = Descriptor {
                    vault_id: pin.vault_id,
                    operator_key: pin.operator_key,
                    created: Timestamp::UNIX_EPOCH,
                    regions: vec![RegionUrl {
                        name: "primary".to_owned(),
                        url: store.url().to_owned(),
                    }],
                    tenant: None,
                    soft_delete_days: SOFT_DELETE_DAYS,
                    features: Features::of_new_vault(),
                };
                let damage = Damage::new(kind, object, reason);
                Ok((
                    Self {
                        store,
                        descriptor: Arc::new(descriptor),
                    },
                    Some(damage),
                ))
            }
            Err(other) => Err(other),
        }
    }

    /// The store with the vault's objects.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The id of the vault.
    #[must_use]
    pub fn id(&self) -> VaultId {
        self.descriptor.vault_id
    }

    /// The operator's public key, which admits servers.
    #[must_use]
    pub fn operator_key(&self) -> &VerifyingKey {
        &self.descriptor.operator_key
    }

    /// The descriptor: id, operator, regions, rules.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// What a machine that registers here has to keep, so that no other vault can take this one's place.
    #[must_use]
    pub fn pin(&self) -> VaultPin {
        VaultPin {
            vault_id: self.id(),
            operator_key: *self.operator_key(),
        }
    }

    /// The registered servers, and the registrations that are damaged or forged.
    pub async fn servers(&self) -> Result<(Servers, Vec<Damage>), VaultError> {
        Servers::load(&self.store, &self.pin()).await
    }

    /// Asks the store for its time, if it did not say it yet. A vault in a folder is asked by a file that is made and
    /// removed. What cannot be found out stays unknown.
    pub async fn ask_time(&self) {
        self.store.ask_time().await;
    }

    /// What the store's clock shows when this server's shows `now`, as far as the store said it. `None` if that is not
    /// known, or if the store's clock must be wrong, because the vault was made later.
    #[must_use]
    pub fn clock_of_store(&self, now: Timestamp) -> Option<Timestamp> {
        let shows = now.checked_add(self.store.clock_offset()?).ok()?;
        let made = self.descriptor.created;
        (shows.checked_add(CLOCKS_DIFFER).unwrap_or(shows) >= made).then_some(shows)
    }

    /// What the store's clock shows when this server's shows `now`. `None` if it is about the same or not known, or if
    /// the store's clock must be wrong, because the vault was made later.
    pub(crate) fn store_time(&self, now: Timestamp) -> Option<Timestamp> {
        let offset = self
            .store
            .clock_offset()
            .filter(|offset| offset.abs() > CLOCKS_DIFFER)?;
        let shows = now.checked_add(offset).ok()?;
        let made = self.descriptor.created;
        (shows.checked_add(CLOCKS_DIFFER).unwrap_or(shows) >= made).then_some(shows)
    }

    /// How many hours this server's clock is ahead of the store's. `None` if it is not ahead, or not known to be.
    #[must_use]
    pub fn hours_ahead_of_store(&self) -> Option<i64> {
        let now = Timestamp::now();
        let hours = now.duration_since(self.store_time(now)?).as_hours();
        (hours > 0).then_some(hours)
    }

    /// Registers a server. The credentials must be this vault's, valid now, and for its primary region. A clock that is
    /// ahead of the store's is not believed, and one that is behind makes no expired credentials valid.
    pub async fn register(
        &self,
        credentials: &VaultCredentials,
        server: &NewServer<'_>,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        credentials.check_vault(&self.descriptor)?;
        self.descriptor.features.check_write()?;
        self.orders().await?.0.admit(credentials)?;
        let store = self.store_time(now);
        if let Some(store) = store.filter(|store| *store > now) {
            credentials.check_at_store(store)?;
        }
        let object = register(credentials, server, store.map_or(now, |store| store.min(now)))?;
        let name = names::registration(server.id);
        match self.store.create(&name, object.clone()).await? {
            Created::New => Ok(()),
            // Either our own earlier attempt succeeded after all, or another server has this random id (practically
            // impossible).
            Created::Exists if self.store.get(&name, RECORD_MAX).await? == object => Ok(()),
            Created::Exists => Err(VaultError::damaged(
                DamageKind::Registration,
                name,
                "there is another one of that id",
            )),
        }
    }

    /// The domains of the vault, by their folders. Includes domains of servers whose registration is damaged.
    pub async fn domains(&self) -> Result<Vec<DomainId>, VaultError> {
        let folders = self.store.folders(names::DOMAINS).await?;
        Ok(folders.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The recovery points of a domain as the operator sees them, oldest first, and what is damaged.
    pub async fn points(&self, domain: DomainId) -> Result<(Vec<PointOverview>, Vec<Damage>), VaultError> {
        let (servers, _) = self.servers().await?;
        let view = self.overview(domain, &servers).await?;
        Ok((view.points, view.damage))
    }

    /// What the operator sees of a domain's log. `servers` are those of `Vault::servers`.
    pub async fn overview(&self, domain: DomainId, servers: &Servers) -> Result<DomainOverview, VaultError> {
        overview::overview(&self.store, &self.pin(), domain, servers.clone()).await
    }

    /// What the operator ordered, and the orders that are damaged or forged.
    pub async fn orders(&self) -> Result<(Orders, Vec<Damage>), VaultError> {
        Orders::load(&self.store, self.id(), self.operator_key()).await
    }

    /// Ends the right of a registered server: what it writes behind `last_entry` of its domain's log counts for no
    /// reader. Returns the order's number.
    pub async fn end_server(
        &self,
        operator: &OperatorKey,
        server: (ServerId, DomainId),
        last_entry: u64,
        reason: &str,
        now: Timestamp,
    ) -> Result<u64, VaultError> {
        let decision = Decision::EndServer {
            server: server.0,
            domain: server.1,
            last_entry,
        };
        self.order(operator, &decision, reason, now).await
    }

    /// Ends credentials: nobody registers or restores with them any more. The servers that registered with them before
    /// stay. Returns these, and the order's number.
    pub async fn end_credentials(
        &self,
        operator: &OperatorKey,
        credentials: CredentialId,
        reason: &str,
        now: Timestamp,
    ) -> Result<(Vec<ServerId>, u64), VaultError> {
        let (servers, _) = self.servers().await?;
        let by_them = servers.iter().filter(|server| server.credentials == credentials);
        let servers: Vec<ServerId> = by_them.map(|server| server.id).collect();
        let decision = Decision::EndCredentials {
            credentials,
            servers: servers.clone(),
        };
        Ok((servers, self.order(operator, &decision, reason, now).await?))
    }

    /// Says whose vault it is from now on. Returns the order's number.
    pub async fn set_tenant(
        &self,
        operator: &OperatorKey,
        tenant: Option<String>,
        now: Timestamp,
    ) -> Result<u64, VaultError> {
        self.order(operator, &Decision::SetTenant(tenant), "", now).await
    }

    async fn order(
        &self,
        operator: &OperatorKey,
        decision: &Decision,
        reason: &str,
        now: Timestamp,
    ) -> Result<u64, VaultError> {
        if operator.vault_id() != self.id() || operator.public() != *self.operator_key() {
            return Err(CredentialsError::OtherVault.into());
        }
        self.descriptor.features.check_write()?;
        let store = self.store_time(now);
        orders::give(
            &self.store,
            operator,
            decision,
            reason,
            store.map_or(now, |store| store.min(now)),
        )
        .await
    }
}

/// Whether the place for a new vault is empty. A local folder must not contain even empty folders.
async fn is_empty(store: &Store) -> Result<bool, VaultError> {
    use futures::TryStreamExt;
    if let Some(root) = store.local_root() {
        let failed = |error: std::io::Error| crate::store::StoreError::from_io(store.url(), &error);
        let names = std::fs::read_dir(root).map_err(failed)?;
        for name in names {
            // Every ext4 file system has this folder in its root.
            if name.map_err(failed)?.file_name() != "lost+found" {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    // Objects that an earlier probe could not delete do not count.
    let probes = format!("{PROBES}/");
    let others = store
        .list("")
        .try_filter(|object| std::future::ready(!object.path.starts_with(&probes)));
    Ok(std::pin::pin!(others).try_next().await?.is_none())
}

/// The URL that other machines can use. For a local folder, its absolute path.
fn absolute_url(store: &Store) -> String {
    store
        .local_root()
        .and_then(|root| root.to_str())
        .unwrap_or(store.url())
        .to_owned()
}

#[cfg(test)]
mod tests;
