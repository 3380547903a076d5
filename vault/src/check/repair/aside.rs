//! Moving a damaged object aside: it is copied to `quarantine/<its name>`, and only then deleted. A store that does not
//! let this server delete keeps it where it is.

use crate::error::{Kind, VaultError};
use crate::store::{Created, Store, names};

/// How many copies of objects of one name are kept.
const COPIES: u32 = 100;

/// What became of an object that was to be moved aside.
pub(super) enum Moved {
    /// It is there now.
    To(String),
    /// It stays where it is.
    Not(String),
}

/// Moves an object aside. Run again after an interruption, it goes on where it was.
pub(super) async fn move_aside(store: &Store, name: &str, max_len: u64) -> Result<Moved, VaultError> {
    let object = match store.get(name, max_len).await {
        Ok(object) => object,
        Err(error) if error.is_object_fault() => return Ok(Moved::Not(format!("it cannot be copied: {error}"))),
        Err(error) => return Err(error.into()),
    };
    for copy in 0..COPIES {
        let mut to = names::quarantine(name);
        if copy > 0 {
            to = format!("{to}.{copy}");
        }
        let is_same = match store.create(&to, object.clone()).await? {
            Created::New => true,
            Created::Exists => store.get(&to, max_len).await.is_ok_and(|there| there == object),
        };
        if is_same {
            return Ok(match store.delete(name).await {
                Ok(()) => Moved::To(to),
                Err(error) if error.kind() == Kind::Refused => Moved::Not(format!("it cannot be deleted: {error}")),
                Err(error) => return Err(error.into()),
            });
        }
    }
    Ok(Moved::Not("there are too many copies of it already".to_owned()))
}
