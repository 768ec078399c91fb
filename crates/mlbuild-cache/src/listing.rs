//! Listings of source trees: which files an input consisted of, so that a changed one can be named later.
//!
//! For explanations only: nothing is built or skipped because of one. A listing is believed only if it has the digest
//! that it is asked for by.

use std::fs;
use std::path::PathBuf;

use mlbuild_action::Tree;
use mlbuild_digest::Digest;

use crate::error::At;
use crate::{Cache, CacheError, wire};

impl Cache {
    /// Remembers the paths and digests of a tree whose files are not in the cache.
    ///
    /// # Errors
    /// Those of writing.
    pub fn remember_listing(&self, tree: &Tree) -> Result<(), CacheError> {
        let path = self.listing_path(&tree.digest());
        if path.exists() {
            return Ok(());
        }
        self.ensure()?;
        let folder = path.parent().expect("it is in a folder");
        fs::create_dir_all(folder).at("make the folder", folder)?;
        let aside = self.temporary_name();
        fs::write(&aside, wire::encode_tree(tree)).at("write", &aside)?;
        fs::rename(&aside, &path).at("make", &path)
    }

    /// The tree with this digest, if it was remembered.
    pub fn listing(&self, digest: &Digest) -> Option<Tree> {
        let bytes = fs::read(self.listing_path(digest)).ok()?;
        wire::decode_tree(&bytes).filter(|tree| tree.digest() == *digest)
    }

    fn listing_path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        let (folder, rest) = name.split_at(2);
        self.root()
            .join("listings")
            .join(folder)
            .join(format!("{rest}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mlbuild_action::TreeEntry;

    #[test]
    fn a_listing_is_known_by_its_digest_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let tree = Tree::new(vec![TreeEntry {
            path: "raw/a.csv".to_owned(),
            digest: Digest::of(b"a"),
            size_bytes: 1,
            executable: false,
        }]);
        assert_eq!(cache.listing(&tree.digest()), None);
        cache.remember_listing(&tree).unwrap();
        assert_eq!(cache.listing(&tree.digest()), Some(tree.clone()));
        fs::write(
            cache.listing_path(&tree.digest()),
            wire::encode_tree(&Tree::default()),
        )
        .unwrap();
        assert_eq!(cache.listing(&tree.digest()), None);
    }
}
