//! Creating objects under random names. No other process uses such a name, so an object that is there already comes
//! from an earlier attempt of this call, whose answer was lost. It may have been cut when the connection broke.

use object_store::PutPayload;

use super::{Created, Store, StoreError};

impl Store {
    /// Creates an object under a new random name. `false` if the object of that name is not whole: then the caller
    /// takes another name. Once it returns `true`, the object is durable.
    pub async fn create_own(&self, path: &str, payload: impl Into<PutPayload>) -> Result<bool, StoreError> {
        let payload = payload.into();
        if self.create(path, payload.clone()).await? == Created::New {
            return Ok(true);
        }
        let found = match self.get(path, payload.content_length() as u64).await {
            Ok(found) => found,
            Err(error) if error.is_object_fault() => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut rest = found.as_ref();
        let same = payload.iter().all(|piece| match rest.strip_prefix(&piece[..]) {
            Some(behind) => {
                rest = behind;
                true
            }
            None => false,
        });
        Ok(same && rest.is_empty())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::testing::{block_on, folder_store};

    #[test]
    fn only_a_whole_object_counts_as_created() {
        let (_folder, store) = folder_store();
        let payload = || {
            [b"one".as_slice(), b"two"]
                .into_iter()
                .map(Bytes::from_static)
                .collect::<PutPayload>()
        };
        assert_eq!(block_on(store.create_own("new", payload())), Ok(true));
        assert_eq!(
            block_on(store.create_own("new", payload())),
            Ok(true),
            "the answer was lost"
        );
        for (name, there) in [
            ("cut", "onet"),
            ("empty", ""),
            ("other", "onetwi"),
            ("longer", "onetwo3"),
        ] {
            block_on(store.create(name, Bytes::from_static(there.as_bytes()))).unwrap();
            assert_eq!(block_on(store.create_own(name, payload())), Ok(false), "{name}");
        }
    }
}
