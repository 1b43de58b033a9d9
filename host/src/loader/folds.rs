//! Which samples are validation data: folds of a cross-validation, and divisions that keep groups
//! together. All are functions of the samples and the seed alone.

use std::collections::BTreeMap;

use super::random::Draws;

/// The fold of each sample, from 0, as `StratifiedKFold` of scikit-learn 1.x divides: each class
/// keeps its share in every fold to within one sample, and the numbers of samples of each class in
/// each fold are the same as there. `labels` may be all equal; then the folds have equal sizes.
pub(super) fn by_label(labels: &[u32], folds: usize, seed: u64) -> Vec<usize> {
    // Classes in the order in which they first occur.
    let mut order: Vec<u32> = Vec::new();
    let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, &label) in labels.iter().enumerate() {
        let of_class = members.entry(label).or_default();
        if of_class.is_empty() {
            order.push(label);
        }
        of_class.push(index);
    }
    // Sorted by class, every `folds`-th sample goes to the same fold.
    let mut fold_of = vec![0; labels.len()];
    let mut place = 0;
    for (number, label) in order.iter().enumerate() {
        let mut of_class = members.remove(label).unwrap_or_default();
        let mut counts = vec![0_usize; folds];
        for _ in 0..of_class.len() {
            counts[place % folds] += 1;
            place += 1;
        }
        Draws::new(seed, "folds", number as u64).shuffle(&mut of_class);
        let folds_of_class =
            counts.iter().enumerate().flat_map(|(fold, &count)| std::iter::repeat_n(fold, count));
        for (index, fold) in of_class.into_iter().zip(folds_of_class) {
            fold_of[index] = fold;
        }
    }
    fold_of
}

/// The fold of each sample, from 0: samples of one group are in one fold. The largest groups are
/// assigned first, each to the fold with the fewest samples, as `GroupKFold` of scikit-learn does.
pub(super) fn by_group(groups: &[u64], folds: usize) -> Vec<usize> {
    let mut sizes: BTreeMap<u64, usize> = BTreeMap::new();
    groups.iter().for_each(|group| *sizes.entry(*group).or_default() += 1);
    let mut order: Vec<(u64, usize)> = sizes.into_iter().collect();
    // Of equally large groups, the last comes first: the order of `argsort` reversed.
    order.sort_by_key(|&(_, size)| size);
    order.reverse();
    let mut filled = vec![0_usize; folds];
    let mut fold_of_group: BTreeMap<u64, usize> = BTreeMap::new();
    for (group, size) in order {
        let lightest = (0..folds).min_by_key(|&fold| filled[fold]).unwrap_or(0);
        filled[lightest] += size;
        fold_of_group.insert(group, lightest);
    }
    groups.iter().map(|group| fold_of_group[group]).collect()
}

/// Whether each sample is validation data: whole groups, drawn at random, with about `kept` samples
/// in all and at least one group on each side.
pub(super) fn share_of_groups(groups: &[u64], kept: u64, seed: u64) -> Vec<bool> {
    let mut sizes: BTreeMap<u64, u64> = BTreeMap::new();
    groups.iter().for_each(|group| *sizes.entry(*group).or_default() += 1);
    let mut order: Vec<(u64, u64)> = sizes.into_iter().collect();
    Draws::new(seed, "groups", 0).shuffle(&mut order);
    // One group stays for training.
    order.pop();
    let mut chosen: BTreeMap<u64, ()> = BTreeMap::new();
    let mut taken = 0;
    for (group, size) in order {
        // Taken if that comes nearer to the wanted number.
        if chosen.is_empty() || (taken + size).abs_diff(kept) < taken.abs_diff(kept) {
            taken += size;
            chosen.insert(group, ());
        }
    }
    groups.iter().map(|group| chosen.contains_key(group)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn numbers(json: &Value) -> Vec<u64> {
        json.as_array().unwrap().iter().map(|one| one.as_u64().unwrap()).collect()
    }

    /// Recorded by `tests/reference/folds.py`.
    fn recorded() -> Value {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/reference/folds.json");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    }

    #[test]
    fn classes_are_divided_among_the_folds_as_by_scikit_learn() {
        for case in recorded()["stratified"].as_array().unwrap() {
            let labels: Vec<u32> = numbers(&case["labels"]).iter().map(|one| *one as u32).collect();
            let folds = case["folds"].as_u64().unwrap() as usize;
            let found = by_label(&labels, folds, 7);
            for (fold, expected) in case["counts"].as_array().unwrap().iter().enumerate() {
                for (label, &expected) in numbers(expected).iter().enumerate() {
                    let here = found.iter().zip(&labels);
                    let count = here.filter(|one| *one == (&fold, &(label as u32))).count();
                    assert_eq!(count as u64, expected, "{folds} folds, fold {fold}, class {label}");
                }
            }
            assert_eq!(found, by_label(&labels, folds, 7));
            assert_ne!(found, by_label(&labels, folds, 8));
        }
    }

    #[test]
    fn groups_are_divided_among_the_folds_as_by_scikit_learn() {
        for case in recorded()["groups"].as_array().unwrap() {
            let folds = case["folds"].as_u64().unwrap() as usize;
            let (groups, expected) = (numbers(&case["groups"]), numbers(&case["fold"]));
            let found = by_group(&groups, folds);
            // Which of two equally large groups comes first is left open there.
            for fold in 0..folds {
                let here = found.iter().filter(|one| **one == fold).count();
                let there = expected.iter().filter(|one| **one == fold as u64).count();
                assert_eq!(here, there, "fold {fold} of {folds}");
            }
            for (group, fold) in groups.iter().zip(&found) {
                let same = groups.iter().zip(&found).filter(|one| one.0 == group);
                assert!(same.into_iter().all(|one| one.1 == fold), "group {group} is divided");
            }
        }
    }

    #[test]
    fn a_share_of_groups_is_near_the_wanted_number_of_samples() {
        let groups: Vec<u64> = (0..300).map(|sample| sample * 7 % 23).collect();
        for seed in 0..20 {
            let validation = share_of_groups(&groups, 60, seed);
            let kept = validation.iter().filter(|is| **is).count();
            assert!((52..=68).contains(&kept), "{kept}");
            for group in 0..23 {
                let of_group = groups.iter().zip(&validation).filter(|one| *one.0 == group);
                let sides: std::collections::BTreeSet<bool> = of_group.map(|one| *one.1).collect();
                assert_eq!(sides.len(), 1);
            }
        }
        let two = share_of_groups(&[1, 1, 2], 3, 0);
        assert!(two.contains(&true) && two.contains(&false), "{two:?}");
        assert!(share_of_groups(&[5, 5], 1, 0).iter().all(|is| !is), "one group cannot be divided");
    }
}
