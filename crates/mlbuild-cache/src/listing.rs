//! Listings: what an input consisted of, so that a changed file or column can be named later.
//!
//! For explanations only: nothing is built or skipped because of one. A listing is named by the digest of what it lists,
//! and believed only if it has that digest.

use std::path::PathBuf;

use mlbuild_action::{Table, Tree};
use mlbuild_digest::Digest;
use mlbuild_disk as disk;

use crate::error::At;
use crate::{Cache, CacheError, wire};

impl Cache {
    /// Remembers the paths and digests of a tree whose files are not in the cache.
    ///
    /// # Errors
    /// Those of writing.
    pub fn remember_listing(&self, tree: &Tree) -> Result<(), CacheError> {
        self.write_listing(&tree.digest(), || wire::encode_tree(tree))
    }

    /// The tree with this digest, if it was remembered.
    pub fn listing(&self, digest: &Digest) -> Option<Tree> {
        let bytes = self.read_or_quarantine(&self.listing_path(digest)).ok()?;
        wire::decode_tree(&bytes).filter(|tree| tree.digest() == *digest)
    }

    /// Remembers the columns of a table.
    ///
    /// # Errors
    /// Those of writing.
    pub fn remember_table(&self, table: &Table) -> Result<(), CacheError> {
        self.write_listing(&table.digest(), || wire::encode_table(table))
    }

    /// The table with this digest, if it was remembered.
    pub fn table(&self, digest: &Digest) -> Option<Table> {
        let bytes = self.read_or_quarantine(&self.listing_path(digest)).ok()?;
        wire::decode_table(&bytes).filter(|table| table.digest() == *digest)
    }

    fn write_listing(
        &self,
        digest: &Digest,
        bytes: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), CacheError> {
        let path = self.listing_path(digest);
        if path.exists() {
            return Ok(());
        }
        self.ensure()?;
        let folder = path.parent().expect("it is in a folder");
        disk::create_folders(folder).at("make the folder", folder)?;
        let aside = self.temporary_name();
        disk::write(&aside, &bytes()).at("write", &aside)?;
        disk::rename(&aside, &path).at("make", &path)
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
    use std::fs;

    use super::*;
    use mlbuild_action::{Column, TreeEntry};

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

    #[test]
    fn a_tables_columns_are_known_by_its_digest_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let table = Table {
            rows: 3,
            columns: vec![Column {
                name: "id".to_owned(),
                data_type: "Int64".to_owned(),
                digest: Digest::of(b"1 2 3"),
            }],
            key: vec!["id".to_owned()],
        };
        assert_eq!(cache.table(&table.digest()), None);
        cache.remember_table(&table).unwrap();
        assert_eq!(cache.table(&table.digest()), Some(table.clone()));
        let path = cache.listing_path(&table.digest());
        fs::write(
            path,
            wire::encode_table(&Table {
                rows: 4,
                ..table.clone()
            }),
        )
        .unwrap();
        assert_eq!(cache.table(&table.digest()), None);
    }
}
