//! Content digests, and the one encoding that identity is built on.
//!
//! A [`Digest`] is the BLAKE3 of some bytes. An [`Encoder`] digests a *sequence of named parts*: every name and value
//! is length-prefixed, and the whole is separated by domain, so no two different sequences give the same bytes
//! (`spec/action-key.md` draws them). Nothing else in the workspace may hash for identity.
//!
//! This crate does no I/O but to read files that it is to digest.

mod file;

use std::fmt;
use std::str::FromStr;

/// The BLAKE3 digest (32 bytes) of some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digests `bytes` as they are, without a domain: the name of an object in the CAS.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Wraps the 32 bytes of a digest computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first ten hexadecimal digits, for people; never for look-ups.
    pub fn short(&self) -> String {
        self.to_string()[..10].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

/// A text that is not 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotADigest;

impl fmt::Display for NotADigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a digest is 64 lowercase hexadecimal digits")
    }
}

impl std::error::Error for NotADigest {}

impl FromStr for Digest {
    type Err = NotADigest;

    /// Parses what `Display` prints, and nothing else: one digest has one spelling.
    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let nibble = |c: u8| match c {
            b'0'..=b'9' => Ok(c - b'0'),
            b'a'..=b'f' => Ok(c - b'a' + 10),
            _ => Err(NotADigest),
        };
        let text = text.as_bytes();
        if text.len() != 64 {
            return Err(NotADigest);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

/// Digests raw bytes as they arrive; the result is that of [`Digest::of`] on their concatenation.
#[derive(Clone, Default)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    /// Takes a whole file, on all cores of the rayon pool where it is large.
    ///
    /// The file is read and not mapped: a mapped file that somebody cuts, or whose disk fails, ends the process by a signal.
    /// If it changes meanwhile, the digest is of no state of it; who may meet that looks at its `stat` again.
    ///
    /// # Errors
    /// Those of opening and reading the file.
    pub fn update_file(&mut self, path: &std::path::Path) -> std::io::Result<&mut Self> {
        file::update(&mut self.0, &std::fs::File::open(path)?)?;
        Ok(self)
    }

    /// As [`Hasher::update_file`] for an open file, writing what it takes to `copy`, from its beginning; returns how many bytes
    /// that were. The file is read once: what is digested is what was written, whatever becomes of the file meanwhile.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub fn copy_file(
        &mut self,
        file: &std::fs::File,
        copy: &std::fs::File,
    ) -> std::io::Result<u64> {
        file::update_and_copy(&mut self.0, file, copy)
    }

    /// The digest of all bytes so far.
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

/// Digests a sequence of named parts under a domain.
///
/// ```
/// use mlbuild_digest::Encoder;
/// let ab = Encoder::new("doc v1").part("a", b"b").finish();
/// assert_ne!(ab, Encoder::new("doc v1").part("ab", b"").finish());
/// assert_ne!(ab, Encoder::new("doc v2").part("a", b"b").finish());
/// ```
#[derive(Clone)]
pub struct Encoder(Hasher);

impl Encoder {
    /// Starts a sequence. `domain` names what is digested, with its version.
    pub fn new(domain: &str) -> Self {
        let mut encoder = Self(Hasher::new());
        encoder.bytes(domain.as_bytes());
        encoder
    }

    /// Adds one part.
    pub fn part(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.bytes(name.as_bytes());
        self.bytes(value);
        self
    }

    /// The digest of all parts so far.
    pub fn finish(&self) -> Digest {
        self.0.finish()
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_prints_and_parses_in_one_spelling() {
        let digest = Digest::of(b"mlbuild");
        let text = digest.to_string();
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(text.to_uppercase().parse::<Digest>(), Err(NotADigest));
        assert_eq!(text[1..].parse::<Digest>(), Err(NotADigest));
    }

    #[test]
    fn the_digest_of_nothing_is_blake3s() {
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(Hasher::new().finish().to_string(), empty);
    }

    #[test]
    fn moving_a_byte_between_parts_changes_the_digest() {
        let digest = |parts: &[(&str, &str)]| {
            let mut encoder = Encoder::new("test v1");
            for (name, value) in parts {
                encoder.part(name, value.as_bytes());
            }
            encoder.finish()
        };
        let all = [
            digest(&[]),
            digest(&[("a", "")]),
            digest(&[("", "a")]),
            digest(&[("a", "bc")]),
            digest(&[("ab", "c")]),
            digest(&[("a", "b"), ("c", "")]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b), "{i}");
        }
    }
}
