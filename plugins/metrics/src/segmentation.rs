//! Metrics of segmentation: `iou` and `dice`, of the classes of pixels.

use fluxbay_plugin::{prelude::*, serde};
use serde_json::json;

use crate::samples::Elements;

config! {
    /// Classes and pixels that count.
    pub struct Config {
        /// Label of pixels that do not count.
        ignored: Option<u32> = null,
        /// Whether class 0, the background, counts.
        background: bool = true,
        /// Logit above which a pixel is class 1, if there is one channel.
        threshold: f64 = 0.0,
    }
}

/// Pixels of each class: predicted as such, and labelled as such, and both.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "fluxbay_plugin::serde")]
struct Overlaps {
    predicted: Vec<u64>,
    wanted: Vec<u64>,
    both: Vec<u64>,
}

impl Overlaps {
    /// Of logits `[samples, classes, ...]` with labels `[samples, ...]`; with one channel, or of the
    /// shape of the labels, of logits of class 1.
    fn of(yhats: &Elements, ys: &Elements, config: &Config) -> Result<Overlaps> {
        let (shape, labels) = (&yhats.shape, &ys.values);
        let samples = shape.first().copied().unwrap_or(1).max(1);
        let pixels = labels.len() / samples;
        let channels = yhats.values.len() / (samples * pixels.max(1)).max(1);
        let fits = channels > 0 && yhats.values.len() == samples * pixels * channels;
        if !fits
            || ys.shape.first() != shape.first()
            || (channels > 1 && shape.get(1) != Some(&channels))
        {
            bail!(
                "predictions of shape {shape:?} do not fit labels of shape {:?}: expected logits \
                 [samples, classes, ...] with labels [samples, ...]",
                ys.shape
            );
        }
        let mut counts = Overlaps::default();
        counts.grow(channels.max(2));
        for (at, &label) in labels.iter().enumerate() {
            let label = label as u32;
            if Some(label) == config.ignored {
                continue;
            }
            let (sample, pixel) = (at / pixels, at % pixels);
            let logit = |class: usize| yhats.values[(sample * channels + class) * pixels + pixel];
            let predicted = match channels {
                1 => usize::from(logit(0) > config.threshold),
                _ => (1..channels)
                    .fold(0, |best, class| if logit(class) > logit(best) { class } else { best }),
            };
            counts.grow(label as usize + 1);
            counts.predicted[predicted] += 1;
            counts.wanted[label as usize] += 1;
            counts.both[predicted] += u64::from(predicted == label as usize);
        }
        Ok(counts)
    }

    fn grow(&mut self, classes: usize) {
        for counts in [&mut self.predicted, &mut self.wanted, &mut self.both] {
            counts.resize(classes.max(counts.len()), 0);
        }
    }

    fn add(&mut self, other: &Overlaps) {
        self.grow(other.both.len());
        let lists = [
            (&mut self.predicted, &other.predicted),
            (&mut self.wanted, &other.wanted),
            (&mut self.both, &other.both),
        ];
        for (counts, more) in lists {
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
    }

    /// The value of each class; `None` for those that neither occur nor are predicted.
    fn values(&self, kind: Kind) -> Vec<Option<f64>> {
        let value = |class: usize| {
            let [predicted, wanted, both] =
                [&self.predicted, &self.wanted, &self.both].map(|counts| counts[class] as f64);
            let (common, all) = match kind {
                Kind::Iou => (both, predicted + wanted - both),
                Kind::Dice => (2.0 * both, predicted + wanted),
            };
            (all > 0.0).then_some(common / all)
        };
        (0..self.both.len()).map(value).collect()
    }

    /// The mean over the classes.
    fn mean(&self, kind: Kind, background: bool) -> f64 {
        let values = self.values(kind);
        let values = values.iter().skip(usize::from(!background)).flatten();
        let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
        sum / f64::from(count)
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Pixels in common divided by those of either.
    Iou,
    /// Twice the pixels in common divided by the sum of both.
    Dice,
}

macro_rules! overlaps {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => { $(
        $(#[$doc])*
        pub struct $name {
            config: Config,
            gathered: Overlaps,
        }

        impl Component for $name {
            type Config = Config;

            fn new(config: Config, _: &mut Setup) -> Result<Self> {
                Ok($name { config, gathered: Overlaps::default() })
            }

            state!(gathered);
        }

        impl Metric for $name {
            fn reset(&mut self) {
                self.gathered = Overlaps::default();
            }

            fn update(&mut self, input: &MetricInput) -> Result<f64> {
                let (yhats, ys) = (Elements::read(input.yhats())?, Elements::read(input.ys())?);
                let step = Overlaps::of(&yhats, &ys, &self.config)?;
                self.gathered.add(&step);
                Ok(step.mean(Kind::$name, self.config.background))
            }

            fn direction(&self) -> Direction {
                Direction::Higher
            }

            fn compute(&self) -> Result<f64> {
                Ok(self.gathered.mean(Kind::$name, self.config.background))
            }

            fn details(&self) -> Result<String> {
                Ok(json!({ "classes": self.gathered.values(Kind::$name) }).to_string())
            }
        }
    )+ };
}

overlaps! {
    /// The metric `iou`.
    Iou,
    /// The metric `dice`.
    Dice,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Reference, close};

    fn config(more: &str) -> Config {
        <Config as fluxbay_plugin::Config>::from_json(&format!("{{{more}}}")).unwrap()
    }

    #[test]
    fn they_agree_with_scikit_learn() {
        for (name, more) in [
            ("segmentation", ""),
            ("segmentation-binary", ""),
            ("segmentation-ignored", "\"ignored\": 255, \"background\": false"),
        ] {
            let (reference, config) = (Reference::load(name), config(more));
            let counts = Overlaps::of(&reference.yhats(), &reference.ys(), &config).unwrap();
            for (kind, key) in [(Kind::Iou, "iou"), (Kind::Dice, "dice")] {
                close(counts.mean(kind, config.background), reference.number(key));
            }
        }
    }

    #[test]
    fn batches_add_up_and_absent_classes_do_not_count() {
        let elements = |values: &[f64], shape: &[usize]| Elements {
            values: values.to_vec(),
            shape: shape.to_vec(),
        };
        let all = config("");
        let logits = [9., 0., 0., 0., 0., 9., 0., 0., 0., 0., 9., 0.];
        let one = Overlaps::of(
            &elements(&logits, &[1, 3, 4]),
            &elements(&[0., 1., 1., 0.], &[1, 4]),
            &all,
        );
        let one = one.unwrap();
        assert_eq!(
            (&one.predicted[..], &one.wanted[..], &one.both[..]),
            (&[2, 1, 1][..], &[2, 2, 0][..], &[2, 1, 0][..])
        );
        assert_eq!(one.values(Kind::Iou), [Some(1.0), Some(0.5), Some(0.0)]);
        let mut sum = Overlaps::default();
        sum.add(&one);
        sum.add(&one);
        assert_eq!(sum.values(Kind::Iou), one.values(Kind::Iou));
        let absent = Overlaps { predicted: vec![1, 0], wanted: vec![1, 0], both: vec![1, 0] };
        assert_eq!((absent.mean(Kind::Dice, true), absent.values(Kind::Dice)[1]), (1.0, None));
        let wrong =
            Overlaps::of(&elements(&[0.0; 6], &[2, 3]), &elements(&[0.0; 4], &[2, 2]), &all);
        assert!(wrong.unwrap_err().message().contains("do not fit labels"));
    }
}
