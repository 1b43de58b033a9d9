//! Assigns samples to splits: the data set's own splits, or `all` divided with a seeded
//! permutation.

use std::{collections::BTreeMap, sync::Arc};

use super::{Field, LoaderError, Samples, batch, buffer_pool::BufferPool, random::Draws};
use crate::learner::ports::Alone;

/// Number of samples whose labels are read at a time.
const LABEL_CHUNK: usize = 512;

/// A split as phases read it.
#[derive(Clone, Debug)]
pub struct Part {
    /// `training`, `validation`, or another name that the data set gives.
    pub name: String,
    /// Index of the data set's split that it reads.
    pub(super) source: usize,
    /// Indices of its samples there, ascending.
    pub(super) indices: Arc<[u64]>,
}

impl Part {
    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.indices.len()
    }

    /// Indices of the samples within the data set's own split, ascending.
    pub fn indices(&self) -> &[u64] {
        &self.indices
    }

    fn new(name: &str, source: usize, indices: Vec<u64>) -> Part {
        Part { name: name.to_owned(), source, indices: indices.into() }
    }
}

/// How `all` is divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Division {
    /// Share of the samples that goes to `validation`, at least 0 and below 1.
    pub(super) validation: f64,
    /// The run's seed.
    pub(super) seed: u64,
}

/// Determines the splits that phases read, and calls the data set's `prepare` with the training
/// samples.
///
/// `training` and others are used as they are. `all` becomes `training` and, with a share above 0,
/// `validation`. If a field holds class labels, each class keeps its share in both; this reads
/// every sample once.
///
/// # Errors
/// Contradicting names, splits without samples, labels out of range, errors of the data set.
pub(super) fn parts(samples: &dyn Samples, division: &Division) -> Result<Vec<Part>, LoaderError> {
    if !(0.0..1.0).contains(&division.validation) {
        return Err(LoaderError::Fraction(division.validation));
    }
    let names: Vec<String> = samples.splits().iter().map(|split| split.name.clone()).collect();
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(LoaderError::TwoSplits(name.clone()));
        }
    }
    if let Some(empty) = samples.splits().iter().find(|split| split.samples == 0) {
        return Err(LoaderError::EmptySplit(empty.name.clone()));
    }
    let all = names.iter().position(|name| name == "all");
    let mut parts = Vec::new();
    for (source, split) in samples.splits().iter().enumerate() {
        if Some(source) == all {
            parts.extend(divide(samples, source, division)?);
        } else if all.is_some() && (split.name == "training" || split.name == "validation") {
            return Err(LoaderError::AmbiguousSplits(split.name.clone()));
        } else {
            parts.push(Part::new(&split.name, source, (0..split.samples).collect()));
        }
    }
    let Some(training) = parts.iter().find(|part| part.name == "training") else {
        return Err(LoaderError::NoTraining(names));
    };
    prepare(samples, training.source, &training.indices)?;
    Ok(parts)
}

fn prepare(samples: &dyn Samples, source: usize, indices: &[u64]) -> Result<(), LoaderError> {
    samples.prepare(source, indices).map_err(|error| LoaderError::Prepare {
        split: samples.splits()[source].name.clone(),
        error,
    })
}

fn divide(
    samples: &dyn Samples,
    source: usize,
    division: &Division,
) -> Result<Vec<Part>, LoaderError> {
    let split = &samples.splits()[source];
    let everything: Vec<u64> = (0..split.samples).collect();
    if division.validation == 0.0 {
        return Ok(vec![Part::new("training", source, everything)]);
    }
    let kept = (division.validation * split.samples as f64).round() as u64;
    if kept == 0 || kept == split.samples {
        let training = split.samples - kept;
        let fraction = division.validation;
        return Err(LoaderError::EmptyDivision {
            fraction,
            samples: split.samples,
            training,
            validation: kept,
        });
    }
    let target = samples.fields().iter().position(|field| field.classes.is_some());
    let groups = match target {
        Some(field) => {
            // A data set may need a first `prepare` before `fill`; the call with the training
            // samples follows.
            prepare(samples, source, &everything)?;
            by_class(samples, source, field)?
        }
        None => vec![everything],
    };
    let (training, validation) = draw(groups, kept, division.seed);
    Ok(vec![Part::new("training", source, training), Part::new("validation", source, validation)])
}

/// The indices of the samples, one list per class, classes ascending.
fn by_class(
    samples: &dyn Samples,
    source: usize,
    target: usize,
) -> Result<Vec<Vec<u64>>, LoaderError> {
    let fields: &[Field] = samples.fields();
    let split = &samples.splits()[source];
    let mut groups: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    let buffers = BufferPool::default();
    let mut first = 0;
    while first < split.samples {
        let indices: Vec<u64> = (first..split.samples.min(first + LABEL_CHUNK as u64)).collect();
        let job = batch::Job {
            samples,
            source,
            indices: &indices,
            verification: batch::Verification::Tails,
            buffers: &buffers,
        };
        let columns = batch::columns(&job, &Alone)?;
        // A label field may hold several labels per sample; the first one counts.
        let per_sample = fields[target].elements().max(1);
        let labels = columns[target].labels().unwrap_or_default();
        for (&index, labels) in indices.iter().zip(labels.chunks(per_sample)) {
            groups.entry(labels[0]).or_default().push(index);
        }
        columns.into_iter().for_each(|column| buffers.give(column));
        first += LABEL_CHUNK as u64;
    }
    Ok(groups.into_values().collect())
}

/// Draws `kept` samples for validation, from each group its share (largest remainders first).
/// Returns training and validation, both ascending.
fn draw(groups: Vec<Vec<u64>>, kept: u64, seed: u64) -> (Vec<u64>, Vec<u64>) {
    let total: u64 = groups.iter().map(|group| group.len() as u64).sum();
    let exact = |group: &Vec<u64>| u128::from(kept) * group.len() as u128;
    let mut shares: Vec<usize> =
        groups.iter().map(|group| (exact(group) / u128::from(total)) as usize).collect();
    let missing = kept as usize - shares.iter().sum::<usize>();
    let mut by_remainder: Vec<usize> = (0..groups.len()).collect();
    by_remainder.sort_by_key(|&group| {
        (std::cmp::Reverse(exact(&groups[group]) % u128::from(total)), group)
    });
    for &group in &by_remainder[..missing] {
        shares[group] += 1;
    }
    let (mut training, mut validation) = (Vec::new(), Vec::new());
    for (number, (mut group, share)) in groups.into_iter().zip(shares).enumerate() {
        Draws::new(seed, "division", number as u64).shuffle(&mut group);
        validation.extend_from_slice(&group[..share]);
        training.extend_from_slice(&group[share..]);
    }
    training.sort_unstable();
    validation.sort_unstable();
    (training, validation)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_sample_is_in_one_part_and_classes_keep_their_share(
            sizes in prop::collection::vec(1_usize..60, 1..8), fraction in 0.05_f64..0.95, seed: u64,
        ) {
            let mut next = 0;
            let groups: Vec<Vec<u64>> = sizes.iter().map(|&size| (0..size).map(|_| { next += 1; next - 1 }).collect()).collect();
            let kept = (fraction * next as f64).round() as u64;
            let (training, validation) = draw(groups.clone(), kept, seed);
            prop_assert_eq!(validation.len() as u64, kept);
            let mut both = [training.clone(), validation.clone()].concat();
            both.sort_unstable();
            prop_assert_eq!(both, (0..next).collect::<Vec<_>>());
            for group in &groups {
                let found = group.iter().filter(|index| validation.binary_search(index).is_ok()).count() as f64;
                let share = kept as f64 / next as f64 * group.len() as f64;
                prop_assert!((found - share).abs() < 1.0, "{} of {} instead of {}", found, group.len(), share);
            }
            prop_assert_eq!(draw(groups, kept, seed), (training, validation));
        }
    }
}
