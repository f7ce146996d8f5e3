//! The hash of a trace: the same in every process, and fast on short input.

use std::hash::Hasher;

/// A multiplicative hash of everything that a gateway was told and ordered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TraceHasher(u64);

/// An odd number with no pattern in its bits: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl TraceHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(FACTOR);
    }
}

impl Hasher for TraceHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (chunks, rest) = bytes.as_chunks::<8>();
        for chunk in chunks {
            self.mix(u64::from_le_bytes(*chunk));
        }
        let last = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        self.mix(last ^ ((bytes.len() as u64) << 56));
    }

    fn write_u8(&mut self, word: u8) {
        self.mix(u64::from(word));
    }

    fn write_u16(&mut self, word: u16) {
        self.mix(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.mix(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.mix(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.mix(word as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hash;

    #[test]
    fn the_hash_depends_on_everything_and_its_order() {
        let hash = |value: &dyn Fn(&mut TraceHasher)| {
            let mut hasher = TraceHasher::default();
            value(&mut hasher);
            hasher.finish()
        };
        let a = hash(&|hasher| ("one", 2_u64).hash(hasher));
        assert_eq!(a, hash(&|hasher| ("one", 2_u64).hash(hasher)));
        assert_ne!(a, hash(&|hasher| ("one", 3_u64).hash(hasher)));
        assert_ne!(a, hash(&|hasher| (2_u64, "one").hash(hasher)));
        assert_ne!(a, hash(&|hasher| ("oneandonlyone", 2_u64).hash(hasher)));
    }
}
