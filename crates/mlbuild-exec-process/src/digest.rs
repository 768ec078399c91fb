//! Digests that a downloaded file must have.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use mlbuild_action::PinnedDigest;
use sha2::{Digest, Sha256};

/// The digest that `file` really has, by the algorithm that is pinned.
pub(crate) fn actual(file: &Path, pinned: &PinnedDigest) -> io::Result<PinnedDigest> {
    match pinned {
        PinnedDigest::Sha256(_) => sha256(file).map(PinnedDigest::Sha256),
        PinnedDigest::Blake3(_) => {
            let digest = mlbuild_digest::Hasher::new().update_file(file)?.finish();
            Ok(PinnedDigest::Blake3(digest.to_string()))
        }
    }
}

/// As it is written in a manifest: `sha256:4edb...`.
pub(crate) fn spelled(digest: &PinnedDigest) -> String {
    match digest {
        PinnedDigest::Sha256(digest) => format!("sha256:{digest}"),
        PinnedDigest::Blake3(digest) => format!("blake3:{digest}"),
    }
}

fn sha256(file: &Path) -> io::Result<String> {
    let mut file = File::open(file)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
