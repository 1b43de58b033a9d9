//! Buckets of words by a hash, for columns with too many different words to list.

/// The bucket of a word: its hash FNV-1a of 64 bits over its bytes in UTF-8
/// (Fowler, Noll, Vo: <http://www.isthe.com/chongo/tech/comp/fnv/>), modulo the number of buckets. Saved
/// models depend on it.
pub fn bucket(word: &[u8], buckets: usize) -> u32 {
    let hash = word.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash % buckets as u64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_the_published_hashes() {
        // Test vectors of the authors of the hash.
        for (word, hash) in [
            ("", 0xcbf2_9ce4_8422_2325_u64),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            for buckets in [1_usize, 7, 1024, 1 << 20] {
                assert_eq!(u64::from(bucket(word.as_bytes(), buckets)), hash % buckets as u64);
            }
        }
    }
}
