//! Names of users and groups, looked up once each: with a directory service behind it a look-up is slow. Shared by all
//! threads.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use crate::sys;

/// Ids and names of owners on this machine.
#[derive(Debug, Default)]
pub struct OwnerNames {
    users: RwLock<HashMap<u32, Bytes>>,
    groups: RwLock<HashMap<u32, Bytes>>,
    user_ids: RwLock<HashMap<Bytes, Option<u32>>>,
    group_ids: RwLock<HashMap<Bytes, Option<u32>>>,
}

/// Beyond it the memory is emptied: hostile vaults may name as many owners as they like.
const REMEMBERED: usize = 64 * 1024;

fn cached<K: Hash + Eq + Clone, V: Clone>(known: &RwLock<HashMap<K, V>>, key: &K, find: impl FnOnce() -> V) -> V {
    if let Some(value) = known.read().unwrap_or_else(PoisonError::into_inner).get(key) {
        return value.clone();
    }
    let value = find();
    let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(key.clone(), value.clone());
    value
}

impl OwnerNames {
    /// The name of a user; empty if it has none.
    #[must_use]
    pub fn user(&self, uid: u32) -> Bytes {
        cached(&self.users, &uid, || sys::user_name(uid).unwrap_or_default().into())
    }

    /// The name of a group; empty if it has none.
    #[must_use]
    pub fn group(&self, gid: u32) -> Bytes {
        cached(&self.groups, &gid, || sys::group_name(gid).unwrap_or_default().into())
    }

    /// The id of a user of that name here.
    #[must_use]
    pub fn uid_of(&self, user: &Bytes) -> Option<u32> {
        cached(&self.user_ids, user, || sys::user_id(user))
    }

    /// The id of a group of that name here.
    #[must_use]
    pub fn gid_of(&self, group: &Bytes) -> Option<u32> {
        cached(&self.group_ids, group, || sys::group_id(group))
    }
}
