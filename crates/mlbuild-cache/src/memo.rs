//! Memos: what was once worked out about inputs and would be worked out the same again.
//!
//! A memo is named by a digest of everything that it depends on (callers make it with an `Encoder` of a domain of their
//! own), so it is never out of date. Its first 32 bytes bind name and value together: one that does not check out is
//! not there. Losing a memo costs time only, so nothing is synced.

use std::path::PathBuf;

use mlbuild_digest::{Digest, Encoder};
use mlbuild_disk as disk;

use crate::error::At;
use crate::{Cache, CacheError};

impl Cache {
    /// What was remembered under `key`; `None` if nothing was, or it is damaged.
    pub fn memo(&self, key: &Digest) -> Option<Vec<u8>> {
        let mut bytes = self.read_or_quarantine(&self.memo_path(key)).ok()?;
        if bytes.len() < 32 {
            return None;
        }
        // In place: a snapshot may be large.
        let found: Vec<u8> = bytes.drain(..32).collect();
        (found == seal(key, &bytes).as_bytes()).then_some(bytes)
    }

    /// Remembers `value` under `key`.
    ///
    /// # Errors
    /// Those of writing.
    pub fn remember_memo(&self, key: &Digest, value: &[u8]) -> Result<(), CacheError> {
        self.ensure()?;
        let path = self.memo_path(key);
        let folder = path.parent().expect("it is in a folder");
        disk::create_folders(folder).at("make the folder", folder)?;
        let aside = self.temporary_name();
        let bytes = [seal(key, value).as_bytes(), value].concat();
        disk::write(&aside, &bytes).at("write", &aside)?;
        disk::rename(&aside, &path).at("make", &path)
    }

    fn memo_path(&self, key: &Digest) -> PathBuf {
        let name = key.to_string();
        let (folder, rest) = name.split_at(2);
        self.root().join("memos").join(folder).join(rest)
    }
}

fn seal(key: &Digest, value: &[u8]) -> Digest {
    let mut encoder = Encoder::new("mlbuild memo v1");
    encoder.part("key", key.as_bytes());
    encoder.part("value", value);
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_memo_is_what_was_remembered_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let (key, other) = (Digest::of(b"a query"), Digest::of(b"another"));
        assert_eq!(cache.memo(&key), None);
        cache.remember_memo(&key, b"reads a and b").unwrap();
        assert_eq!(cache.memo(&key).unwrap(), b"reads a and b");

        let file = cache.memo_path(&key);
        let whole = fs::read(&file).unwrap();
        for end in 0..whole.len() {
            fs::write(&file, &whole[..end]).unwrap();
            assert_eq!(cache.memo(&key), None, "cut at {end}");
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&file, flipped).unwrap();
            assert_eq!(cache.memo(&key), None, "flipped at {at}");
        }
        // Under another name it is not believed either.
        fs::create_dir_all(cache.memo_path(&other).parent().unwrap()).unwrap();
        fs::write(cache.memo_path(&other), &whole).unwrap();
        assert_eq!(cache.memo(&other), None);
    }
}
