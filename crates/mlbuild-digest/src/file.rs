//! Digests files as fast as they can be read, by two blocks: one is digested on all cores while the next is read, in
//! pieces, also on all cores.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rayon::prelude::*;

/// What one call reads.
const PIECE_BYTES: usize = 1 << 20;

/// What is digested at once. Smaller files are not worth a second thread.
const BLOCK_BYTES: usize = 4 << 20;

/// Takes the bytes of a file from its beginning to where it ends when that is reached.
pub(crate) fn update(hasher: &mut blake3::Hasher, file: &File) -> io::Result<()> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    // One byte more than there should be, so that a small file's end is met in its first block.
    let block_bytes = length.saturating_add(1).min(BLOCK_BYTES);
    let (mut block, mut next) = (vec![0; block_bytes], Vec::new());
    let mut filled = read(file, &mut block, 0)?;
    let mut offset = filled as u64;
    while filled == block.len() {
        next.resize(BLOCK_BYTES, 0);
        let (_, more) = rayon::join(
            || hasher.update_rayon(&block),
            || read(file, &mut next, offset),
        );
        filled = more?;
        offset += filled as u64;
        std::mem::swap(&mut block, &mut next);
    }
    hasher.update(&block[..filled]);
    Ok(())
}

/// As [`update`], and writes the same bytes to `copy`, while they are digested: what is digested is what was written.
pub(crate) fn update_and_copy(
    hasher: &mut blake3::Hasher,
    file: &File,
    copy: &File,
) -> io::Result<u64> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let block_bytes = length.saturating_add(1).min(BLOCK_BYTES);
    let (mut block, mut next) = (vec![0; block_bytes], Vec::new());
    let mut filled = read(file, &mut block, 0)?;
    let mut offset = 0;
    while filled == block.len() {
        next.resize(BLOCK_BYTES, 0);
        let after = offset + filled as u64;
        let (_, more) = rayon::join(
            || hasher.update_rayon(&block),
            || {
                copy.write_all_at(&block, offset)?;
                read(file, &mut next, after)
            },
        );
        filled = more?;
        offset = after;
        std::mem::swap(&mut block, &mut next);
    }
    hasher.update(&block[..filled]);
    copy.write_all_at(&block[..filled], offset)?;
    Ok(offset + filled as u64)
}

/// Fills `block` from `offset` on, and says how far: less than all of it at the end of the file.
fn read(file: &File, block: &mut [u8], offset: u64) -> io::Result<usize> {
    if block.len() <= PIECE_BYTES {
        return read_piece(file, block, offset);
    }
    let pieces = block.par_chunks_mut(PIECE_BYTES).enumerate();
    let read = pieces.map(|(number, piece)| {
        let whole = piece.len();
        let filled = read_piece(file, piece, offset + (number * PIECE_BYTES) as u64)?;
        Ok((filled, whole))
    });
    let read: Vec<(usize, usize)> = read.collect::<io::Result<_>>()?;
    // Behind a piece that was cut, the file had ended when that was read.
    let whole = read
        .iter()
        .take_while(|(filled, whole)| filled == whole)
        .count();
    let up_to = read.iter().take(whole + 1);
    Ok(up_to.map(|(filled, _)| filled).sum())
}

fn read_piece(file: &File, piece: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match file.read_at(&mut piece[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::{Digest, Hasher};

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|n| (n / 251 + n) as u8).collect()
    }

    #[test]
    fn a_file_of_any_length_has_the_digest_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let edges = [
            0,
            1,
            PIECE_BYTES,
            BLOCK_BYTES,
            BLOCK_BYTES + PIECE_BYTES,
            2 * BLOCK_BYTES,
        ];
        let lengths = edges
            .iter()
            .flat_map(|edge| [edge.saturating_sub(1), *edge, edge + 1]);
        for length in lengths {
            let bytes = bytes(length);
            std::fs::write(&path, &bytes).unwrap();
            let found = Hasher::new().update_file(&path).unwrap().finish();
            assert_eq!(found, Digest::of(&bytes), "{length}");

            let (from, to) = (File::open(&path).unwrap(), dir.path().join("copy"));
            let copy = File::create(&to).unwrap();
            let mut hasher = Hasher::new();
            assert_eq!(hasher.copy_file(&from, &copy).unwrap(), length as u64);
            assert_eq!(hasher.finish(), Digest::of(&bytes), "{length}, copied");
            assert_eq!(std::fs::read(&to).unwrap(), bytes, "{length}, the copy");
        }
    }

    /// A mapped file would end this process by a signal.
    #[test]
    fn a_file_that_is_cut_while_it_is_read_is_no_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let whole = bytes(3 * BLOCK_BYTES);
        std::fs::write(&path, &whole).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let file = File::options().write(true).open(&path).unwrap();
                while !done.load(Ordering::Relaxed) {
                    file.set_len(0).unwrap();
                    file.set_len(whole.len() as u64).unwrap();
                }
            });
            for _ in 0..15 {
                Hasher::new().update_file(&path).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
