//! Names of users and groups. Each is looked up once and then remembered, because a directory service may be slow. All
//! threads share one [`OwnerNames`].

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use crate::sys;

/// The users and groups of this machine, as far as they have been looked up.
#[derive(Debug, Default)]
pub struct OwnerNames {
    users: RwLock<HashMap<u32, Bytes>>,
    groups: RwLock<HashMap<u32, Bytes>>,
    user_ids: RwLock<HashMap<Bytes, Option<u32>>>,
    group_ids: RwLock<HashMap<Bytes, Option<u32>>>,
}

/// When a table has this many entries, it is emptied: a hostile vault may name any number of owners.
const MAX_REMEMBERED: usize = 64 * 1024;

fn cached<K: Hash + Eq + Clone, V: Clone>(known: &RwLock<HashMap<K, V>>, key: &K, find: impl FnOnce() -> V) -> V {
    if let Some(value) = known.read().unwrap_or_else(PoisonError::into_inner).get(key) {
        return value.clone();
    }
    let value = find();
    let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= MAX_REMEMBERED {
        known.clear();
    }
    known.insert(key.clone(), value.clone());
    value
}

impl OwnerNames {
    /// The name of a user id, empty if it has no name.
    #[must_use]
    pub fn user(&self, uid: u32) -> Bytes {
        cached(&self.users, &uid, || sys::user_name(uid).unwrap_or_default().into())
    }

    /// The name of a group id, empty if it has no name.
    #[must_use]
    pub fn group(&self, gid: u32) -> Bytes {
        cached(&self.groups, &gid, || sys::group_name(gid).unwrap_or_default().into())
    }

    /// The id of the user with this name on this machine.
    #[must_use]
    pub fn uid_of(&self, user: &Bytes) -> Option<u32> {
        cached(&self.user_ids, user, || sys::user_id(user))
    }

    /// The id of the group with this name on this machine.
    #[must_use]
    pub fn gid_of(&self, group: &Bytes) -> Option<u32> {
        cached(&self.group_ids, group, || sys::group_id(group))
    }
}
