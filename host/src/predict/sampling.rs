//! Choosing the next token from the logits of a model.

use crate::tensor::philox;

/// How a token is chosen. The steps are those of transformers' `generate`, in its order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 takes the most probable token.
    pub temperature: f64,
    /// Only the so many most probable tokens are chosen from; 0 for all.
    pub top_k: usize,
    /// Only the most probable tokens that together have this probability are chosen from; 1 for all.
    pub top_p: f64,
    /// Logits of tokens that the text has already are divided by it if they are positive, and
    /// multiplied otherwise (Keskar et al. 2019); 1 for none.
    pub repetition_penalty: f64,
    /// Seed of the choices.
    pub seed: u64,
}

impl Default for Sampling {
    /// The most probable token.
    fn default() -> Sampling {
        Sampling { temperature: 0.0, top_k: 0, top_p: 1.0, repetition_penalty: 1.0, seed: 0 }
    }
}

impl Sampling {
    /// Chooses token number `place` of a text that begins with `text`, from its logits. The same
    /// seed, place and logits give the same token; of equal logits the first token is taken. `None` if
    /// every logit is NaN or minus infinity.
    pub fn choose(&self, logits: &[f32], text: &[u32], place: u64) -> Option<u32> {
        let logits = self.penalised(logits, text);
        if self.temperature == 0.0 {
            let best =
                logits.iter().enumerate().fold(None, |best: Option<(usize, f64)>, (id, &x)| {
                    match best {
                        Some((_, largest)) if x.is_nan() || x <= largest => best,
                        None if x.is_nan() || x == f64::NEG_INFINITY => None,
                        _ => Some((id, x)),
                    }
                });
            return best.map(|(id, _)| id as u32);
        }
        let candidates = self.candidates(&logits);
        let total: f64 = candidates.iter().map(|(_, share)| share).sum();
        let [low, high, ..] = philox(
            [place as u32, (place >> 32) as u32, 0, 0],
            [self.seed as u32, (self.seed >> 32) as u32],
        );
        let bits = (u64::from(high) << 32 | u64::from(low)) >> 11;
        let mut left = bits as f64 / (1_u64 << 53) as f64 * total;
        for &(id, share) in &candidates {
            left -= share;
            if left < 0.0 {
                return Some(id);
            }
        }
        candidates.last().map(|(id, _)| *id)
    }

    fn penalised(&self, logits: &[f32], text: &[u32]) -> Vec<f64> {
        let mut logits: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
        if self.repetition_penalty != 1.0 {
            let mut seen = vec![false; logits.len()];
            for &id in text {
                if let Some(seen) = seen.get_mut(id as usize) {
                    *seen = true;
                }
            }
            for (x, _) in logits.iter_mut().zip(seen).filter(|(_, seen)| *seen) {
                let penalty = self.repetition_penalty;
                *x = if *x < 0.0 { *x * penalty } else { *x / penalty };
            }
        }
        logits
    }

    /// The tokens that are chosen from with their probabilities, the most probable first.
    fn candidates(&self, logits: &[f64]) -> Vec<(u32, f64)> {
        let mut all: Vec<(u32, f64)> = logits
            .iter()
            .enumerate()
            .filter(|(_, x)| !x.is_nan() && **x > f64::NEG_INFINITY)
            .map(|(id, &x)| (id as u32, x / self.temperature))
            .collect();
        let by_size = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if self.top_k > 0 && self.top_k < all.len() {
            all.select_nth_unstable_by(self.top_k - 1, by_size);
            all.truncate(self.top_k);
        }
        all.sort_unstable_by(by_size);
        let largest = all.first().map_or(0.0, |(_, x)| *x);
        // A temperature near 0 makes infinities of both signs.
        let share = |x: f64| if x == largest { 1.0 } else { (x - largest).exp() };
        all.iter_mut().for_each(|(_, x)| *x = share(*x));
        let total: f64 = all.iter().map(|(_, share)| share).sum();
        all.iter_mut().for_each(|(_, share)| *share /= total);
        if self.top_p < 1.0 {
            let mut before = 0.0;
            let kept = all.iter().take_while(|(_, share)| {
                let keep = before < self.top_p;
                before += share;
                keep
            });
            let kept = kept.count().max(1);
            all.truncate(kept);
            let total: f64 = all.iter().map(|(_, share)| share).sum();
            all.iter_mut().for_each(|(_, share)| *share /= total);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Case {
        temperature: f64,
        top_k: usize,
        top_p: f64,
        repetition_penalty: f64,
        probabilities: Vec<f64>,
    }

    #[derive(serde::Deserialize)]
    struct Recorded {
        logits: Vec<f32>,
        text: Vec<u32>,
        cases: Vec<Case>,
    }

    #[test]
    fn probabilities_are_those_of_transformers() {
        let text = include_str!("sampling.json");
        let recorded: Recorded = serde_json::from_str(text).unwrap();
        assert!(recorded.cases.len() >= 6);
        for case in recorded.cases {
            let sampling = Sampling {
                temperature: case.temperature,
                top_k: case.top_k,
                top_p: case.top_p,
                repetition_penalty: case.repetition_penalty,
                seed: 0,
            };
            let logits = sampling.penalised(&recorded.logits, &recorded.text);
            let mut ours = vec![0.0; logits.len()];
            for (id, share) in sampling.candidates(&logits) {
                ours[id as usize] = share;
            }
            for (id, (ours, theirs)) in ours.iter().zip(&case.probabilities).enumerate() {
                assert!(
                    (ours - theirs).abs() < 1e-6,
                    "{sampling:?}: token {id} has {ours} instead of {theirs}"
                );
            }
        }
    }

    #[test]
    fn tokens_are_chosen_with_their_probabilities() {
        let sampling = Sampling { temperature: 1.0, seed: 3, ..Sampling::default() };
        let logits = [0.0, 1.0, f32::NEG_INFINITY, f32::NAN, 0.5];
        let mut counts = [0; 5];
        for place in 0..20_000 {
            counts[sampling.choose(&logits, &[], place).unwrap() as usize] += 1;
        }
        let total: f64 = [0.0_f64, 1.0, 0.5].iter().map(|x| x.exp()).sum();
        for (id, expected) in [(0, 0.0_f64), (1, 1.0), (4, 0.5)] {
            let share = f64::from(counts[id]) / 20_000.0;
            assert!((share - expected.exp() / total).abs() < 0.015, "{counts:?}");
        }
        assert_eq!((counts[2], counts[3]), (0, 0));
        let again: Vec<_> = (0..9).map(|place| sampling.choose(&logits, &[], place)).collect();
        let other = Sampling { seed: 4, ..sampling };
        assert_eq!(
            again[..],
            (0..9).map(|at| sampling.choose(&logits, &[], at)).collect::<Vec<_>>()
        );
        assert_ne!(again[..], (0..9).map(|at| other.choose(&logits, &[], at)).collect::<Vec<_>>());
    }

    #[test]
    fn the_most_probable_token_is_the_first_of_equals() {
        let greedy = Sampling::default();
        assert_eq!(greedy.choose(&[1.0, 3.0, f32::NAN, 3.0], &[], 0), Some(1));
        assert_eq!(greedy.choose(&[f32::NAN, f32::NEG_INFINITY], &[], 0), None);
        let penalised = Sampling { repetition_penalty: 2.0, ..greedy };
        assert_eq!(penalised.choose(&[1.0, 3.0, f32::NAN, 2.0], &[1, 1], 0), Some(3));
    }
}
