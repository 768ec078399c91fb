//! The bytes of the index file: a magic line, the entries sorted by path, and a digest over all that.

use std::collections::HashMap;

use mlbuild_digest::Digest;

use super::{Entry, FileDigest, Stat};

const MAGIC: &[u8] = b"mlbuild stat index v1\n";
const EXECUTABLE: u8 = 1;
const OURS: u8 = 2;

pub(crate) fn encode(entries: &HashMap<String, Entry>) -> Vec<u8> {
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by_key(|(path, _)| *path);
    let mut bytes = MAGIC.to_vec();
    for (path, entry) in sorted {
        let Entry {
            stat,
            file,
            ours,
            fresh: _,
            seen: _,
        } = entry;
        bytes.extend((path.len() as u32).to_le_bytes());
        bytes.extend(path.as_bytes());
        bytes.extend(stat.size_bytes.to_le_bytes());
        bytes.extend(stat.mtime.to_le_bytes());
        bytes.extend(stat.ctime.to_le_bytes());
        bytes.extend(stat.inode.to_le_bytes());
        bytes.push(if file.executable { EXECUTABLE } else { 0 } | if *ours { OURS } else { 0 });
        bytes.extend(file.digest.as_bytes());
    }
    let checksum = Digest::of(&bytes);
    bytes.extend(checksum.as_bytes());
    bytes
}

/// `None` if the bytes are not what [`encode`] gives.
pub(crate) fn decode(bytes: &[u8]) -> Option<HashMap<String, Entry>> {
    let (body, checksum) = bytes.split_last_chunk::<32>()?;
    if Digest::of(body).as_bytes() != checksum {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let mut entries = HashMap::new();
    while !rest.is_empty() {
        let length = u32::from_le_bytes(take(&mut rest)?) as usize;
        let (path, after) = rest.split_at_checked(length)?;
        rest = after;
        let path = std::str::from_utf8(path).ok()?.to_owned();
        let stat = Stat {
            size_bytes: u64::from_le_bytes(take(&mut rest)?),
            mtime: i128::from_le_bytes(take(&mut rest)?),
            ctime: i128::from_le_bytes(take(&mut rest)?),
            inode: u64::from_le_bytes(take(&mut rest)?),
        };
        let [flags] = take(&mut rest)?;
        let file = FileDigest {
            digest: Digest::from_bytes(take(&mut rest)?),
            size_bytes: stat.size_bytes,
            executable: flags & EXECUTABLE != 0,
        };
        let ours = flags & OURS != 0;
        entries.insert(
            path,
            Entry {
                stat,
                file,
                ours,
                fresh: false,
                seen: false,
            },
        );
    }
    Some(entries)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
