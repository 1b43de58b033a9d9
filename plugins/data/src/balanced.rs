//! Sampler `balanced`: every class equally often.

use fluxbay_plugin::prelude::*;

config! {
    /// How much an epoch reads.
    pub struct Config {
        /// Samples that an epoch reads; by default as many as there are for training.
        samples: Option<usize> = null => 1..,
    }
}

/// The sampler `balanced`.
pub struct Balanced {
    samples: Option<usize>,
    /// Places of the training samples of each class that has any.
    classes: Vec<Vec<u64>>,
}

impl Component for Balanced {
    type Config = Config;

    fn new(config: Config, _: &mut Setup) -> Result<Self> {
        Ok(Balanced { samples: config.samples, classes: Vec::new() })
    }
}

impl Sampler for Balanced {
    fn open(&mut self, training: &TrainingSamples<'_>) -> Result<usize> {
        let Some(labels) = training.labels else {
            bail!("the data has no class labels, so its classes cannot be balanced");
        };
        let mut classes = vec![Vec::new(); training.classes];
        for (place, label) in (0..).zip(labels) {
            classes[*label as usize].push(place);
        }
        classes.retain(|places| !places.is_empty());
        self.classes = classes;
        Ok(self.samples.unwrap_or(training.count))
    }

    fn order(&self, _epoch: u64, draws: &mut Draws, order: &mut [u64]) -> Result<()> {
        let count = self.classes.len();
        for (number, places) in self.classes.iter().enumerate() {
            // The classes take turns. Each goes through its samples in a new order, as often as
            // needed, so that none is read twice before all were read once.
            let mut places = places.clone();
            let turns = order.iter_mut().skip(number).step_by(count);
            let length = places.len();
            for (turn, place) in turns.enumerate() {
                if turn % length == 0 {
                    draws.shuffle(&mut places);
                }
                *place = places[turn % length];
            }
        }
        draws.shuffle(order);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(labels: &[u32], samples: Option<usize>, seed: u64) -> Vec<u64> {
        let mut sampler = Balanced { samples, classes: Vec::new() };
        let training = TrainingSamples { count: labels.len(), labels: Some(labels), classes: 4 };
        let mut order = vec![u64::MAX; sampler.open(&training).unwrap()];
        sampler.order(1, &mut Draws::new(seed), &mut order).unwrap();
        order
    }

    #[test]
    fn every_class_comes_equally_often_and_its_samples_in_turn() {
        // 3 of class 0, 90 of class 2, 7 of class 3; none of class 1.
        let labels: Vec<u32> = [vec![0; 3], vec![2; 90], vec![3; 7]].concat();
        let found = order(&labels, None, 1);
        let count = |class| found.iter().filter(|place| labels[**place as usize] == class).count();
        assert_eq!([count(0), count(1), count(2), count(3)], [34, 0, 33, 33]);
        let often = |place| found.iter().filter(|found| **found == place).count();
        assert!((0..3).all(|place| (11..=12).contains(&often(place))));
        assert!((3..93).all(|place| often(place) <= 1), "33 of 90, none twice");
        assert_ne!(found, order(&labels, None, 2));
        assert_eq!(order(&labels, Some(6), 1).len(), 6);
    }

    #[test]
    fn data_without_labels_is_refused() {
        let mut sampler = Balanced { samples: None, classes: Vec::new() };
        let training = TrainingSamples { count: 3, labels: None, classes: 0 };
        let error = sampler.open(&training).unwrap_err();
        assert!(error.message().contains("no class labels"), "{error}");
    }
}
