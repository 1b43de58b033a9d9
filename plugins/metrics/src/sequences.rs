//! Metrics of sequences of tokens: `bleu`, `rouge`, `word-error-rate`, `exact-match`.
//!
//! They compare ids. Predictions are logits `[samples, time, vocabulary]`, of which the largest of each
//! place counts, or ids `[samples, time]`; targets are ids `[samples, time]`.

use std::collections::HashMap;

use fluxbay_plugin::{prelude::*, serde};

use crate::samples::{Elements, argmax};

/// Which tokens count.
#[derive(Clone, Copy, Debug, Default)]
struct Tokens {
    padding: Option<u32>,
    end: Option<u32>,
}

/// A predicted sequence and the wanted one.
type Pair = (Vec<u32>, Vec<u32>);

impl Tokens {
    fn read(self, input: &MetricInput) -> Result<Vec<Pair>> {
        self.pairs(&Elements::read(input.yhats())?, &Elements::read(input.ys())?)
    }

    fn pairs(self, yhats: &Elements, ys: &Elements) -> Result<Vec<Pair>> {
        let (ids, &[_, time]) = (&yhats.values, &ys.shape[..]) else {
            bail!("targets of shape {:?} are no sequences of tokens [samples, time]", ys.shape);
        };
        let predicted: Vec<u32> = if yhats.shape == ys.shape {
            ids.iter().map(|id| *id as u32).collect()
        } else if yhats.shape.len() == 3 && yhats.shape[..2] == ys.shape[..] {
            let rows = ids.chunks(yhats.shape[2].max(1));
            rows.map(|row| argmax(row).unwrap_or(u32::MAX)).collect()
        } else {
            bail!(
                "predictions of shape {:?} do not fit targets of shape {:?}: expected logits \
                 [samples, time, vocabulary] or ids [samples, time]",
                yhats.shape,
                ys.shape
            );
        };
        let pairs = predicted.chunks(time.max(1)).zip(ys.values.chunks(time.max(1)));
        let pair = |(predicted, wanted): (&[u32], &[f64])| {
            let known = predicted.iter().zip(wanted).map(|(&a, &b)| (a, b as u32));
            let known = known.filter(|(_, wanted)| Some(*wanted) != self.padding);
            let (mut predicted, mut wanted): Pair = known.unzip();
            for ids in [&mut predicted, &mut wanted] {
                if let Some(at) = ids.iter().position(|id| Some(*id) == self.end) {
                    ids.truncate(at);
                }
            }
            (predicted, wanted)
        };
        Ok(pairs.map(pair).collect())
    }
}

/// The `n`-grams of a sequence with their counts.
fn grams(ids: &[u32], n: usize) -> HashMap<&[u32], u64> {
    let mut counts = HashMap::new();
    for gram in ids.windows(n) {
        *counts.entry(gram).or_insert(0) += 1;
    }
    counts
}

/// Number of `n`-grams that both sequences have.
fn common(a: &[u32], b: &[u32], n: usize) -> u64 {
    let of_b = grams(b, n);
    grams(a, n)
        .into_iter()
        .map(|(gram, count)| count.min(of_b.get(gram).copied().unwrap_or(0)))
        .sum()
}

config! {
    /// Which tokens count, and how.
    pub struct BleuConfig {
        /// Longest n-grams that are compared.
        order: usize = 4 => 1..=16,
        /// Whether one is added to the counts of n-grams of two and more tokens, so that a short text
        /// without common ones is not 0.
        smooth: bool = false,
        /// Id of padding: places whose target it is do not count.
        padding: Option<u32> = null,
        /// Id that ends a sequence; it and what follows do not count.
        end: Option<u32> = null,
    }
}

/// Counts of n-grams over a corpus.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct BleuCounts {
    /// Common n-grams and predicted ones, for each n from 1.
    common: Vec<u64>,
    predicted: Vec<u64>,
    /// Tokens of predictions and of targets.
    lengths: [u64; 2],
}

impl BleuCounts {
    fn add(&mut self, pairs: &[Pair], order: usize) {
        self.common.resize(order, 0);
        self.predicted.resize(order, 0);
        for (predicted, wanted) in pairs {
            for n in 1..=order {
                self.common[n - 1] += common(predicted, wanted, n);
                self.predicted[n - 1] += (predicted.len() + 1).saturating_sub(n) as u64;
            }
            self.lengths[0] += predicted.len() as u64;
            self.lengths[1] += wanted.len() as u64;
        }
    }

    /// Papineni et al. 2002, of the whole corpus.
    fn value(&self, smooth: bool) -> f64 {
        if self.lengths[1] == 0 {
            return f64::NAN;
        }
        let mut logarithms = 0.0;
        for (n, (&common, &predicted)) in self.common.iter().zip(&self.predicted).enumerate() {
            let more = u64::from(smooth && n > 0);
            if common + more == 0 {
                return 0.0;
            }
            logarithms += ((common + more) as f64 / (predicted + more) as f64).ln();
        }
        let [predicted, wanted] = self.lengths.map(|length| length as f64);
        let brevity = if predicted < wanted { (1.0 - wanted / predicted).exp() } else { 1.0 };
        brevity * (logarithms / self.common.len() as f64).exp()
    }
}

/// The metric `bleu`.
pub struct Bleu {
    config: BleuConfig,
    gathered: BleuCounts,
}

impl Component for Bleu {
    type Config = BleuConfig;

    fn new(config: BleuConfig, _: &mut Setup) -> Result<Self> {
        Ok(Bleu { config, gathered: BleuCounts::default() })
    }

    state!(gathered);
}

impl Metric for Bleu {
    fn reset(&mut self) {
        self.gathered = BleuCounts::default();
    }

    fn update(&mut self, input: &MetricInput) -> Result<f64> {
        let BleuConfig { order, smooth, padding, end } = self.config;
        let pairs = Tokens { padding, end }.read(input)?;
        let mut step = BleuCounts::default();
        step.add(&pairs, order);
        self.gathered.add(&pairs, order);
        Ok(step.value(smooth))
    }

    fn direction(&self) -> Direction {
        Direction::Higher
    }

    fn compute(&self) -> Result<f64> {
        Ok(self.gathered.value(self.config.smooth))
    }
}

choice! {
    /// What two sequences have in common.
    pub enum Variant {
        /// Tokens.
        One,
        /// Pairs of neighbours.
        Two,
        /// The longest common subsequence.
        Longest,
    }
}

config! {
    /// Which tokens count, and how.
    pub struct RougeConfig {
        /// What is counted: `one` is ROUGE-1, `two` is ROUGE-2, `longest` is ROUGE-L.
        variant: Variant = "longest",
        /// Id of padding: places whose target it is do not count.
        padding: Option<u32> = null,
        /// Id that ends a sequence; it and what follows do not count.
        end: Option<u32> = null,
    }
}

config! {
    /// Which tokens count.
    pub struct Config {
        /// Id of padding: places whose target it is do not count.
        padding: Option<u32> = null,
        /// Id that ends a sequence; it and what follows do not count.
        end: Option<u32> = null,
    }
}

/// The harmonic mean of the shares of a sequence and of its target that both have in common (Lin
/// 2004).
fn rouge((predicted, wanted): &Pair, variant: Variant) -> f64 {
    let grams = |n: usize| {
        let count = |ids: &[u32]| (ids.len() + 1).saturating_sub(n) as u64;
        (common(predicted, wanted, n), count(predicted), count(wanted))
    };
    let (common, predicted, wanted) = match variant {
        Variant::One => grams(1),
        Variant::Two => grams(2),
        Variant::Longest => {
            (longest(predicted, wanted), predicted.len() as u64, wanted.len() as u64)
        }
    };
    if common == 0 {
        return 0.0;
    }
    2.0 * common as f64 / (predicted + wanted) as f64
}

/// Length of the longest common subsequence.
fn longest(a: &[u32], b: &[u32]) -> u64 {
    let mut row = vec![0_u64; b.len() + 1];
    for x in a {
        let mut before = 0;
        for (at, y) in b.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if x == y { before + 1 } else { above.max(row[at]) };
            before = above;
        }
    }
    row[b.len()]
}

/// Number of insertions, deletions and substitutions between two sequences (Levenshtein 1966).
fn distance(a: &[u32], b: &[u32]) -> u64 {
    let mut row: Vec<u64> = (0..=b.len() as u64).collect();
    for x in a {
        let mut before = row[0];
        row[0] += 1;
        for (at, y) in b.iter().enumerate() {
            let above = row[at + 1];
            let replaced = before + u64::from(x != y);
            row[at + 1] = replaced.min(above + 1).min(row[at] + 1);
            before = above;
        }
    }
    row[b.len()]
}

/// A sum over samples and what it is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Share {
    sum: f64,
    of: f64,
}

impl Share {
    fn over(pairs: &[Pair], one: impl Fn(&Pair) -> (f64, f64)) -> Share {
        pairs
            .iter()
            .map(one)
            .fold(Share::default(), |all, (sum, of)| Share { sum: all.sum + sum, of: all.of + of })
    }

    fn value(self) -> f64 {
        self.sum / self.of
    }
}

macro_rules! shares {
    ($($(#[$doc:meta])* $name:ident($config:ty), $direction:ident, |$given:ident, $pair:ident| $one:expr;)+) => { $(
        $(#[$doc])*
        pub struct $name {
            config: $config,
            gathered: Share,
        }

        impl Component for $name {
            type Config = $config;

            fn new(config: $config, _: &mut Setup) -> Result<Self> {
                Ok($name { config, gathered: Share::default() })
            }

            state!(gathered);
        }

        impl Metric for $name {
            fn reset(&mut self) {
                self.gathered = Share::default();
            }

            fn update(&mut self, input: &MetricInput) -> Result<f64> {
                let $given = &self.config;
                let pairs = Tokens { padding: $given.padding, end: $given.end }.read(input)?;
                let step = Share::over(&pairs, |$pair| $one);
                self.gathered.sum += step.sum;
                self.gathered.of += step.of;
                Ok(step.value())
            }

            fn direction(&self) -> Direction {
                Direction::$direction
            }

            fn compute(&self) -> Result<f64> {
                Ok(self.gathered.value())
            }
        }
    )+ };
}

shares! {
    /// The metric `rouge`.
    Rouge(RougeConfig), Higher, |config, pair| (rouge(pair, config.variant), 1.0);
    /// The metric `word-error-rate`.
    WordErrorRate(Config), Lower, |_config, pair| {
        (distance(&pair.0, &pair.1) as f64, pair.1.len() as f64)
    };
    /// The metric `exact-match`.
    ExactMatch(Config), Higher, |_config, pair| (f64::from(u8::from(pair.0 == pair.1)), 1.0);
}

#[cfg(test)]
mod tests {
    use fluxbay_plugin::serde_json::{self, Value};

    use super::*;
    use crate::reference::close;

    fn recorded() -> (Vec<Pair>, Value) {
        let all: Value = serde_json::from_str(include_str!("../tests/sequences.json")).unwrap();
        let ids = |value: &Value| -> Vec<u32> {
            let ids = value.as_array().unwrap().iter();
            ids.map(|id| id.as_u64().unwrap() as u32).collect()
        };
        let pairs = all["pairs"].as_array().unwrap();
        (pairs.iter().map(|pair| (ids(&pair[0]), ids(&pair[1]))).collect(), all["expected"].clone())
    }

    #[test]
    fn they_agree_with_sacrebleu_rouge_score_and_jiwer() {
        let (pairs, expected) = recorded();
        let number = |name: &str| expected[name].as_f64().unwrap_or_else(|| panic!("no {name}"));
        for (order, smooth, name) in
            [(4, false, "bleu-4"), (2, false, "bleu-2"), (4, true, "bleu-4-smooth")]
        {
            let mut counts = BleuCounts::default();
            // In two batches.
            counts.add(&pairs[..3], order);
            counts.add(&pairs[3..], order);
            close(counts.value(smooth), number(name));
        }
        for (variant, name) in
            [(Variant::One, "rouge-1"), (Variant::Two, "rouge-2"), (Variant::Longest, "rouge-l")]
        {
            close(Share::over(&pairs, |pair| (rouge(pair, variant), 1.0)).value(), number(name));
        }
        let errors = |pair: &Pair| (distance(&pair.0, &pair.1) as f64, pair.1.len() as f64);
        close(Share::over(&pairs, errors).value(), number("word-error-rate"));
    }

    #[test]
    fn padding_and_what_follows_the_end_do_not_count() {
        let ids =
            |rows: &[[f64; 5]]| Elements { values: rows.concat(), shape: vec![rows.len(), 5] };
        let tokens = Tokens { padding: Some(0), end: Some(9) };
        let pairs = tokens
            .pairs(
                &ids(&[[1., 2., 9., 4., 5.], [3., 3., 3., 3., 3.]]),
                &ids(&[[1., 2., 3., 9., 0.], [3., 3., 3., 3., 0.]]),
            )
            .unwrap();
        assert_eq!(pairs[0], (vec![1, 2], vec![1, 2, 3]));
        assert_eq!(pairs[1], (vec![3; 4], vec![3; 4]));
        // Of logits the largest counts.
        let logits = Elements { values: vec![0., 1., 2., 1., 0., 0.], shape: vec![1, 2, 3] };
        let ys = Elements { values: vec![2., 0.], shape: vec![1, 2] };
        assert_eq!(Tokens::default().pairs(&logits, &ys).unwrap(), [(vec![2, 0], vec![2, 0])]);
        let wrong = Elements { values: vec![0.0; 3], shape: vec![3] };
        assert!(Tokens::default().pairs(&wrong, &ys).unwrap_err().message().contains("do not fit"));
        assert!(BleuCounts::default().value(false).is_nan());
        assert_eq!(distance(&[], &[1, 2]), 2);
        assert_eq!(rouge(&(vec![], vec![1]), Variant::Longest), 0.0);
    }
}
