//! The bytes of a snapshot: `spec/cache-layout.md` fixes them. The memo that holds them checks them as a whole.

use std::time::Duration;

use mlbuild_cache::Stat;
use mlbuild_digest::Digest;
use mlbuild_lineage::RunId;
use mlbuild_manifest::Label;

use super::{Settled, Snapshot};

const MAGIC: &[u8] = b"mlbuild snapshot v1\n";

pub(super) fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let Snapshot {
        paths,
        variables,
        targets,
        wanted,
        saved,
        stats,
        run,
    } = snapshot;
    let mut bytes = MAGIC.to_vec();
    put_count(&mut bytes, paths.len());
    for (path, stat) in paths {
        put_text(&mut bytes, path);
        bytes.push(u8::from(stat.is_some()));
        if let Some(stat) = stat {
            let Stat {
                size_bytes,
                mtime,
                ctime,
                inode,
            } = stat;
            bytes.extend(size_bytes.to_le_bytes());
            bytes.extend(mtime.to_le_bytes());
            bytes.extend(ctime.to_le_bytes());
            bytes.extend(inode.to_le_bytes());
        }
    }
    put_count(&mut bytes, variables.len());
    for (name, digest) in variables {
        put_text(&mut bytes, name);
        bytes.push(u8::from(digest.is_some()));
        bytes.extend(digest.iter().flat_map(Digest::as_bytes));
    }
    put_count(&mut bytes, targets.len());
    for target in targets {
        let Settled {
            label,
            rows,
            size_bytes,
            warnings,
        } = target;
        put_text(&mut bytes, &label.to_string());
        bytes.extend(size_bytes.to_le_bytes());
        bytes.push(u8::from(rows.is_some()));
        bytes.extend(rows.iter().flat_map(|rows| rows.to_le_bytes()));
        put_count(&mut bytes, warnings.len());
        for warning in warnings {
            put_text(&mut bytes, warning);
        }
    }
    put_count(&mut bytes, wanted.len());
    for target in wanted {
        bytes.extend(target.to_le_bytes());
    }
    bytes.extend((saved.as_micros() as u64).to_le_bytes());
    bytes.extend(stats.to_le_bytes());
    bytes.push(u8::from(run.is_some()));
    bytes.extend(run.iter().flat_map(|run| run.number().to_le_bytes()));
    bytes
}

/// `None` if the bytes are not what [`encode`] gives.
pub(super) fn decode(bytes: &[u8]) -> Option<Snapshot> {
    let mut rest = Rest(bytes.strip_prefix(MAGIC)?);
    let paths = rest.list(|rest| {
        let path = rest.text()?;
        let stat = rest.optional(|rest| {
            Some(Stat {
                size_bytes: u64::from_le_bytes(rest.take()?),
                mtime: i128::from_le_bytes(rest.take()?),
                ctime: i128::from_le_bytes(rest.take()?),
                inode: u64::from_le_bytes(rest.take()?),
            })
        })?;
        Some((path.to_owned(), stat))
    })?;
    let variables = rest.list(|rest| {
        let name = rest.text()?.to_owned();
        let digest = rest.optional(|rest| Some(Digest::from_bytes(rest.take()?)))?;
        Some((name, digest))
    })?;
    let targets = rest.list(|rest| {
        Some(Settled {
            label: rest.text()?.parse::<Label>().ok()?,
            size_bytes: u64::from_le_bytes(rest.take()?),
            rows: rest.optional(|rest| Some(u64::from_le_bytes(rest.take()?)))?,
            warnings: rest.list(|rest| rest.text().map(str::to_owned))?,
        })
    })?;
    let wanted = rest.list(|rest| {
        let number = u32::from_le_bytes(rest.take()?);
        ((number as usize) < targets.len()).then_some(number)
    })?;
    let snapshot = Snapshot {
        paths,
        variables,
        targets,
        wanted,
        saved: Duration::from_micros(u64::from_le_bytes(rest.take()?)),
        stats: u64::from_le_bytes(rest.take()?),
        run: rest.optional(|rest| Some(RunId::new(i64::from_le_bytes(rest.take()?))))?,
    };
    rest.0.is_empty().then_some(snapshot)
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("nothing here has four milliards of anything");
    bytes.extend(count.to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_count(bytes, text.len());
    bytes.extend(text.as_bytes());
}

/// What has not been read yet.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    fn count(&mut self) -> Option<usize> {
        Some(u32::from_le_bytes(self.take()?) as usize)
    }

    fn text(&mut self) -> Option<&'b str> {
        let length = self.count()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.take()? {
            [0] => Some(None),
            [1] => read(self).map(Some),
            _ => None,
        }
    }

    fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.count()?;
        // Every element takes a byte at least, so what is claimed cannot ask for more memory than there are bytes.
        let mut list = Vec::with_capacity(count.min(self.0.len()));
        for _ in 0..count {
            list.push(read(self)?);
        }
        Some(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Snapshot {
        let stat = Stat {
            size_bytes: 10,
            mtime: 1_767_225_600_000_000_001,
            ctime: -2,
            inode: 3,
        };
        Snapshot {
            paths: vec![
                ("mlbuild.toml".to_owned(), Some(stat)),
                ("lib/absent.py".to_owned(), None),
            ],
            variables: vec![
                ("LANG".to_owned(), Some(Digest::of(b"C"))),
                ("UNSET".to_owned(), None),
            ],
            targets: vec![Settled {
                label: "data:a".parse().unwrap(),
                rows: Some(2),
                size_bytes: 512,
                warnings: vec!["2 rows are null".to_owned()],
            }],
            wanted: vec![0],
            saved: Duration::from_micros(1500),
            stats: 2,
            run: Some(RunId::new(7)),
        }
    }

    /// What builds left yesterday is read today, or the domain of [`super::super::Question`] rises.
    #[test]
    fn the_bytes_stay_what_they_are() {
        let bytes = encode(&sample());
        assert_eq!(bytes.len(), 249);
        assert_eq!(
            Digest::of(&bytes).to_string(),
            "600f72925acc538812ad7d2cc6b1d53276bdd76f3b3ef4364d63412ffb406f28"
        );
        assert_eq!(decode(&bytes).unwrap(), sample());
    }

    #[test]
    fn what_is_cut_or_lengthened_is_no_snapshot() {
        let bytes = encode(&sample());
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_none(), "cut at {end}");
        }
        assert!(decode(&[bytes, vec![0]].concat()).is_none());
    }
}
