"""Writes the divisions of scikit-learn that `host/src/loader/folds.rs` compares with.

Run from the top of the repository, in an environment with tests/reference/requirements.txt:

    python tests/reference/folds.py > tests/reference/folds.json
"""

import json
import sys

import numpy as np
import sklearn
from sklearn.model_selection import GroupKFold, StratifiedKFold


def stratified(labels, folds):
    labels = np.asarray(labels)
    parts = StratifiedKFold(folds).split(labels, labels)
    counts = [np.bincount(labels[test], minlength=labels.max() + 1).tolist() for _, test in parts]
    return {"labels": labels.tolist(), "folds": folds, "counts": counts}


def groups(of_samples, folds):
    fold = np.zeros(len(of_samples), dtype=int)
    for number, (_, test) in enumerate(GroupKFold(folds).split(of_samples, groups=of_samples)):
        fold[test] = number
    return {"groups": list(map(int, of_samples)), "folds": folds, "fold": fold.tolist()}


if __name__ == "__main__":
    random = np.random.default_rng(1)
    uneven = random.choice(4, size=103, p=[0.5, 0.3, 0.15, 0.05])
    result = {
        "scikit-learn": sklearn.__version__,
        "stratified": [
            stratified(uneven, 5),
            stratified(uneven, 3),
            stratified([0] * 50 + [1] * 50 + [2] * 50, 4),
            stratified([2, 2, 1, 0, 1, 2, 0, 0, 1, 1, 0, 2, 2], 2),
        ],
        "groups": [
            groups(random.integers(0, 12, size=80), 4),
            groups([3, 3, 1, 1, 1, 2, 7, 7, 7, 7, 9], 3),
        ],
    }
    json.dump(result, sys.stdout)
    print()
