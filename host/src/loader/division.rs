//! Assigns samples to splits: the data set's own splits, or `all` divided with a seeded
//! permutation.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Field, LoaderError, Occasion, SampleRange, Samples, batch, buffer_pool::BufferPool, folds,
    random::Draws, samples::label_field,
};
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
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Division {
    /// Share of the samples that goes to `validation`, at least 0 and below 1.
    pub(super) validation: f64,
    /// The run's seed.
    pub(super) seed: u64,
    /// Whether every class keeps its share.
    pub(super) stratify: bool,
    /// A field, or a file with a line per sample, that tells which samples belong together; empty
    /// for nothing.
    pub(super) groups: String,
    /// Number of folds; 0 for none.
    pub(super) folds: usize,
    /// The fold that is the validation data, from 1.
    pub(super) fold: usize,
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
    if all.is_none() && (division.folds > 0 || !division.groups.is_empty()) {
        return Err(LoaderError::Undivided(names));
    }
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

pub(super) fn prepare(
    samples: &dyn Samples,
    source: usize,
    indices: &[u64],
) -> Result<(), LoaderError> {
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
    if division.folds > 0 || !division.groups.is_empty() {
        let validation = chosen(samples, source, division)?;
        let part = |wanted: bool| -> Vec<u64> {
            let indices = everything.iter().zip(&validation);
            indices.filter(|(_, is)| **is == wanted).map(|(index, _)| *index).collect()
        };
        let parts = [("training", part(false)), ("validation", part(true))];
        if let Some((name, _)) = parts.iter().find(|(_, indices)| indices.is_empty()) {
            return Err(LoaderError::EmptyPart { part: name, samples: split.samples });
        }
        return Ok(parts.map(|(name, indices)| Part::new(name, source, indices)).into());
    }
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
    let target = label_field(samples.fields());
    let groups = match target.filter(|_| division.stratify) {
        Some(field) => {
            let mut groups: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
            for (index, label) in (0..).zip(labels(samples, source, field)?) {
                groups.entry(label).or_default().push(index);
            }
            groups.into_values().collect()
        }
        None => vec![everything],
    };
    let (training, validation) = draw(groups, kept, division.seed);
    Ok(vec![Part::new("training", source, training), Part::new("validation", source, validation)])
}

/// Whether each sample is validation data, with folds or groups.
fn chosen(
    samples: &dyn Samples,
    source: usize,
    division: &Division,
) -> Result<Vec<bool>, LoaderError> {
    let count = samples.splits()[source].samples;
    let folds = division.folds;
    if folds > 0 && !((1..=folds).contains(&division.fold) && folds >= 2 && folds as u64 <= count) {
        return Err(LoaderError::Fold { fold: division.fold, folds, samples: count });
    }
    if !division.groups.is_empty() {
        let groups = group_of_each(samples, source, &division.groups)?;
        if folds == 0 {
            let kept = (division.validation * count as f64).round() as u64;
            return Ok(folds::share_of_groups(&groups, kept, division.seed));
        }
        let of_samples = folds::by_group(&groups, folds);
        return Ok(of_samples.into_iter().map(|fold| fold + 1 == division.fold).collect());
    }
    let target = label_field(samples.fields());
    let labels = match target.filter(|_| division.stratify) {
        Some(field) => labels(samples, source, field)?,
        None => vec![0; count as usize],
    };
    let of_samples = folds::by_label(&labels, folds, division.seed);
    Ok(of_samples.into_iter().map(|fold| fold + 1 == division.fold).collect())
}

/// The group of each sample, as a number: of a field, or of a file with a line per sample.
fn group_of_each(
    samples: &dyn Samples,
    source: usize,
    groups: &str,
) -> Result<Vec<u64>, LoaderError> {
    if let Some(field) = samples.fields().iter().position(|field| field.name == groups) {
        return Ok(labels(samples, source, field)?.into_iter().map(u64::from).collect());
    }
    let mut numbers: BTreeMap<String, u64> = BTreeMap::new();
    let lines = lines_per_sample(samples, source, groups, "groups")?;
    let number = |line: String| {
        let next = numbers.len() as u64;
        *numbers.entry(line).or_insert(next)
    };
    Ok(lines.into_iter().map(number).collect())
}

/// The lines of a file that has one for each sample of a split.
pub(super) fn lines_per_sample(
    samples: &dyn Samples,
    source: usize,
    path: &str,
    setting: &'static str,
) -> Result<Vec<String>, LoaderError> {
    let text = std::fs::read_to_string(path).map_err(|error| LoaderError::PerSample {
        setting,
        path: path.to_owned(),
        reason: format!("cannot be read: {error}"),
    })?;
    let lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    let split = &samples.splits()[source];
    if lines.len() as u64 != split.samples {
        return Err(LoaderError::PerSample {
            setting,
            path: path.to_owned(),
            reason: format!(
                "has {} lines, but split `{}` has {} samples",
                lines.len(),
                split.name,
                split.samples
            ),
        });
    }
    Ok(lines)
}

/// The label of each sample of a split, from a field of `u32`. Prepares the data set for it: the
/// call of `prepare` with the training samples has to follow.
pub(super) fn labels(
    samples: &dyn Samples,
    source: usize,
    target: usize,
) -> Result<Vec<u32>, LoaderError> {
    let everything: Vec<u64> = (0..samples.splits()[source].samples).collect();
    prepare(samples, source, &everything)?;
    labels_of(samples, source, target, &everything)
}

/// The labels of some samples: the first one of those that have several in field `target`.
pub(super) fn labels_of(
    samples: &dyn Samples,
    source: usize,
    target: usize,
    wanted: &[u64],
) -> Result<Vec<u32>, LoaderError> {
    let fields: &[Field] = samples.fields();
    if fields[target].dtype != candle_core::DType::U32 {
        let (field, dtype) = (fields[target].name.clone(), fields[target].dtype.as_str());
        return Err(LoaderError::LabelType { field, dtype });
    }
    let per_sample = fields[target].elements().max(1);
    let buffers = BufferPool::default();
    let mut all = Vec::with_capacity(wanted.len());
    for indices in wanted.chunks(LABEL_CHUNK) {
        if let Some(read) = samples.labels(source, target, indices) {
            let at = || SampleRange {
                split: samples.splits()[source].name.clone(),
                sample: indices[0],
                count: indices.len(),
            };
            let read = read.map_err(|error| LoaderError::Samples { at: at(), error })?;
            all.extend(read.chunks(per_sample).map(|labels| labels[0]));
            continue;
        }
        let job = batch::Job {
            samples,
            source,
            indices,
            occasion: Occasion::default(),
            verification: batch::Verification::Tails,
            buffers: &buffers,
        };
        let (columns, _) = batch::columns(&job, &Alone)?;
        let labels = columns[target].labels().unwrap_or_default();
        all.extend(labels.chunks(per_sample).map(|labels| labels[0]));
        columns.into_iter().for_each(|column| buffers.give(column));
    }
    Ok(all)
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
