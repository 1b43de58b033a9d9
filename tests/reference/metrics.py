"""Writes the numbers that the tests of plugins/metrics compare with, as scikit-learn gives them.

Run from the top of the repository, in an environment with tests/reference/requirements.txt:

    python tests/reference/metrics.py > plugins/metrics/tests/scikit-learn.json
"""

import json
import sys

import numpy as np
import sklearn
from sklearn import metrics

rng = np.random.default_rng(20240229)


def tensor(array):
    array = np.asarray(array)
    return {"shape": list(array.shape), "values": [float(value) for value in array.ravel()]}


def softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def averaged(ys, predicted, averages):
    scores = {"precision": metrics.precision_score, "recall": metrics.recall_score, "f1": metrics.f1_score}
    return {f"{name}-{average}": float(score(ys, predicted, average=average, zero_division=0)) for name, score in scores.items() for average in averages}


def classes(count, samples, spread, used=None):
    ys = rng.integers(0, used or count, samples)
    logits = np.round(rng.normal(size=(samples, count)) * 2, 2)
    logits[np.arange(samples), ys] += spread
    if used:
        logits[:, used:] -= 50
    return ys, logits


def case(yhats, ys, expected):
    return {"yhats": tensor(yhats), "ys": tensor(ys), "expected": expected}


def main():
    cases = {}

    ys, logits = classes(3, 80, 1.5)
    probabilities, predicted = softmax(logits), logits.argmax(axis=1)
    expected = averaged(ys, predicted, ["macro", "micro", "weighted"])
    expected["accuracy"] = metrics.accuracy_score(ys, predicted)
    expected["top-1"] = metrics.top_k_accuracy_score(ys, logits, k=1)
    expected["top-2"] = metrics.top_k_accuracy_score(ys, logits, k=2)
    expected["auroc"] = metrics.roc_auc_score(ys, probabilities, multi_class="ovr", average="macro")
    expected["log-loss"] = metrics.log_loss(ys, probabilities)
    expected["confusion"] = metrics.confusion_matrix(ys, predicted).tolist()
    cases["three-classes"] = case(logits, ys, expected)

    ys, logits = classes(2, 60, 1.0)
    probabilities, predicted = softmax(logits), logits.argmax(axis=1)
    expected = averaged(ys, predicted, ["macro", "micro", "weighted", "binary"])
    expected["auroc"] = metrics.roc_auc_score(ys, probabilities[:, 1])
    expected["log-loss"] = metrics.log_loss(ys, probabilities)
    cases["two-classes"] = case(logits, ys, expected)

    # Classes 3 and 4 are neither targets nor predicted: the macro average leaves them out.
    ys, logits = classes(5, 40, 1.0, used=3)
    cases["absent-classes"] = case(logits, ys, averaged(ys, logits.argmax(axis=1), ["macro", "micro", "weighted"]))

    ys = rng.integers(0, 2, 50)
    # One decimal, so that there are ties.
    logits = np.round(rng.normal(size=50) + ys, 1)
    expected = {"auroc": metrics.roc_auc_score(ys, logits), "log-loss": metrics.log_loss(ys, 1 / (1 + np.exp(-logits)))}
    expected["accuracy"] = metrics.accuracy_score(ys, logits > 0)
    cases["binary-logits"] = case(logits, ys, expected)

    for name, shape, offset in [("regression", (30,), 0), ("regression-two-outputs", (25, 2), 0), ("regression-far-from-zero", (40,), 1e6)]:
        ys = rng.normal(size=shape) + offset
        yhats = ys + 0.5 * rng.normal(size=shape)
        mse = metrics.mean_squared_error(ys, yhats)
        expected = {"mse": mse, "rmse": float(np.sqrt(mse)), "mae": metrics.mean_absolute_error(ys, yhats), "r2": metrics.r2_score(ys, yhats)}
        cases[name] = case(yhats, ys, expected)

    json.dump({"scikit-learn": sklearn.__version__, "cases": cases}, sys.stdout, indent=None, separators=(",", ":"))
    sys.stdout.write("\n")


main()
