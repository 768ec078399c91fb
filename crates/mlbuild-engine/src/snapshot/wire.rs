//! The bytes of a snapshot: `spec/cache-layout.md` fixes them. The memos that hold them check them as a whole.

use std::time::Duration;

use mlbuild_action::{Artifact, Column, Table, Tree, TreeEntry};
use mlbuild_cache::Stat;
use mlbuild_digest::Digest;
use mlbuild_lineage::RunId;
use mlbuild_manifest::Label;

use super::{Detail, Details, Settled, Snapshot};
use crate::witness::Seen;

const MAGIC: &[u8] = b"mlbuild snapshot v2\n";
const MAGIC_OF_DETAILS: &[u8] = b"mlbuild snapshot details v2\n";

/// Without what goes into the other memo, whose digest must be known.
pub(super) fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let Snapshot {
        paths,
        variables,
        targets,
        complete,
        wanted,
        saved,
        stats,
        run,
        details,
    } = snapshot;
    let mut bytes = MAGIC.to_vec();
    put_count(&mut bytes, paths.len());
    for (path, seen) in paths {
        put_text(&mut bytes, path);
        match seen {
            Seen::Absent => bytes.push(0),
            Seen::Present(stat) => {
                let Stat {
                    size_bytes,
                    mtime,
                    ctime,
                    inode,
                } = stat;
                bytes.push(1);
                bytes.extend(size_bytes.to_le_bytes());
                bytes.extend(mtime.to_le_bytes());
                bytes.extend(ctime.to_le_bytes());
                bytes.extend(inode.to_le_bytes());
            }
            Seen::Unsure => bytes.push(2),
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
    bytes.push(u8::from(*complete));
    put_count(&mut bytes, wanted.len());
    for target in wanted {
        bytes.extend(target.to_le_bytes());
    }
    bytes.extend((saved.as_micros() as u64).to_le_bytes());
    bytes.extend(stats.to_le_bytes());
    bytes.push(u8::from(run.is_some()));
    bytes.extend(run.iter().flat_map(|run| run.number().to_le_bytes()));
    let details = match details {
        Details::Kept(digest) => *digest,
        Details::Here(details) => Digest::of(&encode_details(details)),
    };
    bytes.extend(details.as_bytes());
    bytes
}

/// `None` if the bytes are not what [`encode`] gives.
pub(super) fn decode(bytes: &[u8]) -> Option<Snapshot> {
    let mut rest = Rest(bytes.strip_prefix(MAGIC)?);
    let paths = rest.list(|rest| {
        let path = rest.text()?;
        let seen = match rest.take()? {
            [0] => Seen::Absent,
            [1] => Seen::Present(Stat {
                size_bytes: u64::from_le_bytes(rest.take()?),
                mtime: i128::from_le_bytes(rest.take()?),
                ctime: i128::from_le_bytes(rest.take()?),
                inode: u64::from_le_bytes(rest.take()?),
            }),
            [2] => Seen::Unsure,
            _ => return None,
        };
        Some((path.to_owned(), seen))
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
    let complete = rest.flag()?;
    let wanted = rest.list(|rest| {
        let number = u32::from_le_bytes(rest.take()?);
        ((number as usize) < targets.len()).then_some(number)
    })?;
    let snapshot = Snapshot {
        paths,
        variables,
        targets,
        complete,
        wanted,
        saved: Duration::from_micros(u64::from_le_bytes(rest.take()?)),
        stats: u64::from_le_bytes(rest.take()?),
        run: rest.optional(|rest| Some(RunId::new(i64::from_le_bytes(rest.take()?))))?,
        details: Details::Kept(Digest::from_bytes(rest.take()?)),
    };
    rest.0.is_empty().then_some(snapshot)
}

pub(super) fn encode_details(details: &[Detail]) -> Vec<u8> {
    let mut bytes = MAGIC_OF_DETAILS.to_vec();
    put_count(&mut bytes, details.len());
    for detail in details {
        let Detail {
            artifact: Artifact { tree, table },
            figures,
            took,
            stats,
            looks,
        } = detail;
        put_count(&mut bytes, tree.entries().len());
        for entry in tree.entries() {
            let TreeEntry {
                path,
                digest,
                size_bytes,
                executable,
            } = entry;
            put_text(&mut bytes, path);
            bytes.extend(digest.as_bytes());
            bytes.extend(size_bytes.to_le_bytes());
            bytes.push(u8::from(*executable));
        }
        bytes.push(u8::from(table.is_some()));
        if let Some(Table { rows, columns, key }) = table {
            bytes.extend(rows.to_le_bytes());
            put_count(&mut bytes, columns.len());
            for Column {
                name,
                data_type,
                digest,
            } in columns
            {
                put_text(&mut bytes, name);
                put_text(&mut bytes, data_type);
                bytes.extend(digest.as_bytes());
            }
            put_count(&mut bytes, key.len());
            for column in key {
                put_text(&mut bytes, column);
            }
        }
        put_count(&mut bytes, figures.len());
        for (name, figure) in figures {
            put_text(&mut bytes, name);
            bytes.extend(figure.to_bits().to_le_bytes());
        }
        bytes.extend((took.as_micros() as u64).to_le_bytes());
        bytes.extend(stats.to_le_bytes());
        put_count(&mut bytes, looks.len());
        for look in looks {
            bytes.extend(look.to_le_bytes());
        }
    }
    bytes
}

/// `None` if the bytes are not what [`encode_details`] gives.
pub(super) fn decode_details(bytes: &[u8]) -> Option<Vec<Detail>> {
    let mut rest = Rest(bytes.strip_prefix(MAGIC_OF_DETAILS)?);
    let details = rest.list(|rest| {
        let entries = rest.list(|rest| {
            Some(TreeEntry {
                path: rest.text()?.to_owned(),
                digest: Digest::from_bytes(rest.take()?),
                size_bytes: u64::from_le_bytes(rest.take()?),
                executable: rest.flag()?,
            })
        })?;
        let table = rest.optional(|rest| {
            Some(Table {
                rows: u64::from_le_bytes(rest.take()?),
                columns: rest.list(|rest| {
                    Some(Column {
                        name: rest.text()?.to_owned(),
                        data_type: rest.text()?.to_owned(),
                        digest: Digest::from_bytes(rest.take()?),
                    })
                })?,
                key: rest.list(|rest| rest.text().map(str::to_owned))?,
            })
        })?;
        Some(Detail {
            artifact: Artifact {
                tree: Tree::new(entries),
                table,
            },
            figures: rest
                .list(|rest| {
                    let name = rest.text()?.to_owned();
                    Some((name, f64::from_bits(u64::from_le_bytes(rest.take()?))))
                })?
                .into_iter()
                .collect(),
            took: Duration::from_micros(u64::from_le_bytes(rest.take()?)),
            stats: u64::from_le_bytes(rest.take()?),
            looks: rest.list(|rest| Some(u32::from_le_bytes(rest.take()?)))?,
        })
    })?;
    rest.0.is_empty().then_some(details)
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

    fn flag(&mut self) -> Option<bool> {
        match self.take()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.flag()? {
            false => Some(None),
            true => read(self).map(Some),
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

    pub(super) fn details() -> Vec<Detail> {
        let entry = |path: &str| TreeEntry {
            path: path.to_owned(),
            digest: Digest::of(path.as_bytes()),
            size_bytes: 7,
            executable: path == "run",
        };
        let column = Column {
            name: "id".to_owned(),
            data_type: "Int64".to_owned(),
            digest: Digest::of(b"1 2 3"),
        };
        let detail = |paths: &[&str], table| Detail {
            artifact: Artifact {
                tree: Tree::new(paths.iter().map(|path| entry(path)).collect()),
                table,
            },
            figures: [("loss".to_owned(), 0.25)].into(),
            took: Duration::from_micros(1500),
            stats: 2,
            looks: vec![1],
        };
        let table = Table {
            rows: 3,
            columns: vec![column],
            key: vec!["id".to_owned()],
        };
        vec![
            detail(&["deep/words", "run"], None),
            detail(&["table.parquet"], Some(table)),
        ]
    }

    pub(super) fn sample() -> Snapshot {
        let stat = Stat {
            size_bytes: 10,
            mtime: 1_767_225_600_000_000_001,
            ctime: -2,
            inode: 3,
        };
        Snapshot {
            paths: vec![
                ("mlbuild.toml".to_owned(), Seen::Present(stat)),
                ("lib/absent.py".to_owned(), Seen::Absent),
                ("raw/young.csv".to_owned(), Seen::Unsure),
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
            complete: true,
            wanted: vec![0],
            saved: Duration::from_micros(1500),
            stats: 2,
            run: Some(RunId::new(7)),
            details: Details::Kept(Digest::of(&encode_details(&details()))),
        }
    }

    /// What builds left yesterday is read today, or the domain of [`super::super::Question`] rises.
    #[test]
    fn the_bytes_stay_what_they_are() {
        let bytes = encode(&sample());
        assert_eq!(bytes.len(), 300);
        assert_eq!(
            Digest::of(&bytes).to_string(),
            "bd3840a30c7f555ace8a5cbf7d11ee8483e40c86d2ac2381daa8db18061448a3"
        );
        assert_eq!(decode(&bytes).unwrap(), sample());

        let bytes = encode_details(&details());
        assert_eq!(bytes.len(), 360);
        assert_eq!(
            Digest::of(&bytes).to_string(),
            "eada713afc65e227cda8540fa03dc7e107f1c15f6583f63d4d31ba688ee4b536"
        );
        assert_eq!(decode_details(&bytes).unwrap(), details());
    }

    #[test]
    fn what_is_cut_or_lengthened_is_no_snapshot() {
        let bytes = encode(&sample());
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_none(), "cut at {end}");
        }
        assert!(decode(&[bytes, vec![0]].concat()).is_none());

        let bytes = encode_details(&details());
        for end in 0..bytes.len() {
            assert!(decode_details(&bytes[..end]).is_none(), "cut at {end}");
        }
        assert!(decode_details(&[bytes, vec![0]].concat()).is_none());
    }
}

#[cfg(test)]
mod fuzz {
    use mlbuild_testing::{Corpus, fuzz};

    use super::tests::{details, sample};
    use super::*;

    /// The checksums of memos keep mutants out; these are what a program with a mistake might write.
    #[test]
    fn no_bytes_make_a_snapshot_panic() {
        let words = [
            "mlbuild.toml",
            "data:a",
            "\u{0}\u{0}\u{0}\u{0}",
            "\u{1}",
            "\u{2}",
        ];
        let (whole, whole_details) = (encode(&sample()), encode_details(&details()));
        let corpus = Corpus {
            inputs: &[&whole],
            words: &words,
            rounds: 3_000,
        };
        fuzz("snapshot", corpus, |bytes| {
            if let Some(found) = decode(bytes) {
                assert_eq!(encode(&found), bytes);
            }
        });
        let corpus = Corpus {
            inputs: &[&whole_details],
            words: &words,
            rounds: 3_000,
        };
        fuzz("snapshot details", corpus, |bytes| {
            if let Some(found) = decode_details(bytes) {
                // Files and figures are sorted, whatever order they come in.
                let sorted = encode_details(&found);
                let again = decode_details(&sorted).expect("what was written can be read");
                assert_eq!(encode_details(&again), sorted);
            }
        });
    }
}
