//! The path of a folder, as a chain of names that folders share. A whole path in each folder would take a lot of memory
//! in a deep tree: 10,000 levels of long names are 2 MB for each folder.

use std::sync::Arc;

/// The absolute path of a folder in the source.
#[derive(Debug)]
pub struct FolderPath {
    above: Option<Arc<FolderPath>>,
    /// Its name, or the whole path if it has no folder above it here.
    name: Box<[u8]>,
    /// Length of the path in bytes.
    len: usize,
}

impl FolderPath {
    /// A path that is written out. An empty one is `/`.
    #[must_use]
    pub fn whole(path: &[u8]) -> Arc<Self> {
        let path = if path.is_empty() { b"/" } else { path };
        Arc::new(Self {
            above: None,
            name: path.into(),
            len: path.len(),
        })
    }

    /// The path of the folder `name` in the folder `above`.
    #[must_use]
    pub fn within(above: &Arc<Self>, name: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            above: Some(Arc::clone(above)),
            name: name.into(),
            len: above.len + usize::from(!above.is_root()) + name.len(),
        })
    }

    /// The path's length in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a path is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The path, written out.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.join(b"")
    }

    /// The path of the entry `name` in this folder, written out. An empty name: the path of the folder itself.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Vec<u8> {
        let mut path = vec![0; self.len];
        let mut end = path.len();
        let mut next = Some(self);
        // From the last name to the first one, so that the chain is followed once.
        while let Some(part) = next {
            let start = end - part.name.len();
            path[start..end].copy_from_slice(&part.name);
            next = part.above.as_deref();
            end = start;
            if next.is_some_and(|above| !above.is_root()) {
                end -= 1;
                path[end] = b'/';
            }
        }
        if !name.is_empty() {
            if !path.ends_with(b"/") {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        path
    }

    fn is_root(&self) -> bool {
        &*self.name == b"/"
    }
}

impl PartialEq for FolderPath {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.len == other.len && self.to_vec() == other.to_vec())
    }
}

impl Eq for FolderPath {}

impl Drop for FolderPath {
    /// Drops a long chain without recursion, which would need a stack as deep as the tree.
    fn drop(&mut self) {
        let mut next = self.above.take();
        while let Some(mut last) = next.and_then(Arc::into_inner) {
            next = last.above.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_out_from_its_names() {
        let root = FolderPath::whole(b"");
        let srv = FolderPath::within(&root, b"srv");
        let data = FolderPath::within(&srv, b"data");
        assert_eq!(root.to_vec(), b"/");
        assert_eq!(root.join(b"f"), b"/f");
        assert_eq!(data.to_vec(), b"/srv/data");
        assert_eq!(data.join(b"f"), b"/srv/data/f");
        assert_eq!(data.len(), 9);
        assert_eq!(data, FolderPath::within(&FolderPath::whole(b"/srv"), b"data"));
        assert_ne!(data, srv);
    }

    #[test]
    fn a_very_deep_path_is_dropped() {
        let mut path = FolderPath::whole(b"/a");
        for _ in 0..200_000 {
            path = FolderPath::within(&path, b"d");
        }
        assert_eq!(path.to_vec().len(), path.len());
    }
}
