//! Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
//! 1, 2, 3", 2011).
//!
//! A number is a function of (seed, stream, counter) and of nothing else. Streams have names; each
//! has its own counter, so that drawing from one never shifts another. The whole state is the seed
//! and one counter per name: a checkpoint keeps it.

use std::collections::BTreeMap;

use smallvec::SmallVec;

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Four random words of one counter value.
#[inline(always)]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for round in 0..10 {
        if round > 0 {
            k0 = k0.wrapping_add(WEYL[0]);
            k1 = k1.wrapping_add(WEYL[1]);
        }
        let first = u64::from(MULTIPLIERS[0]) * u64::from(c0);
        let second = u64::from(MULTIPLIERS[1]) * u64::from(c2);
        (c0, c1, c2, c3) = (
            (second >> 32) as u32 ^ c1 ^ k0,
            second as u32,
            (first >> 32) as u32 ^ c3 ^ k1,
            first as u32,
        );
    }
    [c0, c1, c2, c3]
}

/// Seed and counters, for checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RandomState {
    /// The run's seed.
    pub seed: u64,
    /// How many blocks of four words were taken from each named stream.
    pub counters: BTreeMap<String, u64>,
}

/// Random words that were reserved from a stream: each can be computed in any order and on any
/// thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    key: [u32; 2],
    stream: u64,
    first: u64,
}

impl Words {
    /// The words with the numbers `4 index .. 4 index + 4`.
    #[inline(always)]
    pub fn block(&self, index: u64) -> [u32; 4] {
        let counter = self.first.wrapping_add(index);
        philox(
            [
                counter as u32,
                (counter >> 32) as u32,
                self.stream as u32,
                (self.stream >> 32) as u32,
            ],
            self.key,
        )
    }

    /// Word number `index`.
    #[inline(always)]
    pub fn word(&self, index: usize) -> u32 {
        self.block(index as u64 / 4)[index % 4]
    }
}

/// A uniform number in `[0, 1)` with 24 random bits.
#[inline(always)]
pub fn unit_f32(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A uniform number in `[0, 1)` with 53 random bits.
#[inline(always)]
pub fn unit_f64(low: u32, high: u32) -> f64 {
    ((u64::from(high) << 32 | u64::from(low)) >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

/// A standard normal number from one block: Box and Muller (1958), the cosine branch.
#[inline(always)]
pub fn normal_f64([a, b, c, d]: [u32; 4]) -> f64 {
    let radius = (-2.0 * (1.0 - unit_f64(a, b)).ln()).sqrt();
    radius * (std::f64::consts::TAU * unit_f64(c, d)).cos()
}

/// The streams of an engine.
#[derive(Clone, Debug)]
pub struct Random {
    seed: u64,
    streams: Vec<Stream>,
    names: BTreeMap<String, usize>,
    current: usize,
    /// What operations take is also put here, or is taken from here again.
    tape: Tape,
}

/// What happens to the words that operations take.
#[derive(Clone, Debug, Default)]
enum Tape {
    /// Nothing further.
    #[default]
    Off,
    /// They are kept.
    Recording(SmallVec<[Words; 1]>),
    /// They are those that were kept, and the streams stay as they are.
    Playing(SmallVec<[Words; 1]>),
}

#[derive(Clone, Debug)]
struct Stream {
    id: u64,
    counter: u64,
}

/// Name of the stream that is current until another is chosen.
pub const DEFAULT_STREAM: &str = "default";

impl Random {
    /// Fresh streams of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random =
            Self { seed, streams: Vec::new(), names: BTreeMap::new(), current: 0, tape: Tape::Off };
        random.stream(DEFAULT_STREAM);
        random
    }

    /// The number of the stream with this name; it starts at its first word if it is new.
    pub fn stream(&mut self, name: &str) -> usize {
        if let Some(&index) = self.names.get(name) {
            return index;
        }
        self.names.insert(name.to_owned(), self.streams.len());
        self.streams.push(Stream { id: identity(name), counter: 0 });
        self.streams.len() - 1
    }

    /// Makes a stream the one that operations draw from when they name none. Returns the one
    /// before.
    pub fn set_current(&mut self, stream: usize) -> usize {
        std::mem::replace(&mut self.current, stream.min(self.streams.len() - 1))
    }

    /// Reserves `count` words of a stream (`None`: the current one). `None` if there is no such
    /// stream.
    pub fn take(&mut self, stream: Option<usize>, count: usize) -> Option<Words> {
        match &mut self.tape {
            Tape::Playing(words) if words.is_empty() => return None,
            Tape::Playing(words) => return Some(words.remove(0)),
            _ => {}
        }
        let key = self.key();
        let stream = self.streams.get_mut(stream.unwrap_or(self.current))?;
        let words = Words { key, stream: stream.id, first: stream.counter };
        stream.counter = stream.counter.wrapping_add(count.div_ceil(4) as u64);
        if let Tape::Recording(taken) = &mut self.tape {
            taken.push(words);
        }
        Some(words)
    }

    /// Keeps the words that are taken from now on, until [`Random::taken`].
    pub fn keep_taken(&mut self) {
        self.tape = Tape::Recording(SmallVec::new());
    }

    /// The words that were taken since [`Random::keep_taken`], in their order.
    pub fn taken(&mut self) -> SmallVec<[Words; 1]> {
        match std::mem::take(&mut self.tape) {
            Tape::Recording(taken) => taken,
            _ => SmallVec::new(),
        }
    }

    /// Returns these words for the next calls of [`Random::take`], one for each, and leaves the
    /// streams as they are; ended by [`Random::taken`].
    pub fn take_again(&mut self, words: SmallVec<[Words; 1]>) {
        self.tape = Tape::Playing(words);
    }

    /// Words that depend on the seed and a name only.
    pub fn named(&self, name: &str) -> Words {
        Words { key: self.key(), stream: identity(name), first: 0 }
    }

    /// Seed and counters.
    pub fn state(&self) -> RandomState {
        let counters = self
            .names
            .iter()
            .map(|(name, &index)| (name.clone(), self.streams[index].counter))
            .collect();
        RandomState { seed: self.seed, counters }
    }

    /// Restores a state. Streams keep their numbers; one that the state lacks starts at 0.
    pub fn restore(&mut self, state: &RandomState) {
        self.seed = state.seed;
        for stream in &mut self.streams {
            stream.counter = 0;
        }
        for (name, &counter) in &state.counters {
            let index = self.stream(name);
            self.streams[index].counter = counter;
        }
    }

    fn key(&self) -> [u32; 2] {
        [self.seed as u32, (self.seed >> 32) as u32]
    }
}

/// 64 bits of a name: FNV-1a, then the finaliser of SplitMix64 so that similar names give distant numbers.
fn identity(name: &str) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the authors' Random123 library (kat_vectors, philox4x32 10).
    #[test]
    fn philox_gives_the_published_vectors() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn streams_do_not_disturb_each_other_and_can_be_restored() {
        let mut random = Random::new(7);
        let (a, b) = (random.stream("a"), random.stream("b"));
        let first = random.take(Some(a), 6).unwrap();
        let state = random.state();
        let second = random.take(Some(a), 1).unwrap();
        assert_ne!(first.block(0), second.block(0));
        assert_eq!(first.block(2), second.block(0), "six words are two blocks");
        random.take(Some(b), 100);
        random.restore(&state);
        assert_eq!(random.take(Some(a), 1).unwrap(), second);

        let mut other = Random::new(0);
        other.restore(&state);
        let a = other.stream("a");
        assert_eq!(other.take(Some(a), 1).unwrap(), second);
    }

    #[test]
    fn named_words_depend_on_seed_and_name_only() {
        let (mut one, two) = (Random::new(3), Random::new(3));
        one.take(None, 1000);
        assert_eq!(one.named("model/w").block(5), two.named("model/w").block(5));
        assert_ne!(one.named("model/w").block(0), one.named("model/b").block(0));
        assert_ne!(one.named("w").block(0), Random::new(4).named("w").block(0));
    }

    #[test]
    fn words_that_were_kept_are_taken_again_and_the_streams_stay() {
        let mut random = Random::new(7);
        random.keep_taken();
        let (first, second) = (random.take(None, 6).unwrap(), random.take(None, 1).unwrap());
        let kept = random.taken();
        let state = random.state();
        random.take_again(kept);
        assert_eq!([random.take(None, 6), random.take(None, 1)], [Some(first), Some(second)]);
        assert_eq!(random.take(None, 1), None, "nothing more was kept");
        random.taken();
        assert_eq!(random.state(), state);
        assert_ne!(random.take(None, 1), Some(second));
    }

    #[test]
    fn an_unknown_stream_is_refused() {
        assert_eq!(Random::new(1).take(Some(9), 1), None);
    }
}
