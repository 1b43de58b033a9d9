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


def overlaps(ys, predicted, labels):
    flat = {"y_true": ys.ravel(), "y_pred": predicted.ravel().astype(int), "average": "macro", "labels": labels, "zero_division": 0}
    return {"iou": float(metrics.jaccard_score(**flat)), "dice": float(metrics.f1_score(**flat))}


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

    # Pixels. Of the third case, label 255 and class 0 do not count.
    ys = rng.integers(0, 4, (2, 5, 6))
    logits = np.round(rng.normal(size=(2, 4, 5, 6)) + 1.5 * (np.arange(4)[None, :, None, None] == ys[:, None]), 3)
    predicted = logits.argmax(axis=1)
    cases["segmentation"] = case(logits, ys, overlaps(ys, predicted, None))
    unknown = np.where(rng.random(ys.shape) < 0.2, 255, ys)
    known = unknown != 255
    cases["segmentation-ignored"] = case(logits, unknown, overlaps(unknown[known], predicted[known], [1, 2, 3]))
    ys = rng.integers(0, 2, (3, 4, 4))
    logits = np.round(rng.normal(size=(3, 1, 4, 4)) + 2 * ys[:, None] - 1, 3)
    cases["segmentation-binary"] = case(logits, ys, overlaps(ys, logits[:, 0] > 0, None))

    # Retrieval. One decimal, so that there are ties.
    ys, vectors = rng.integers(0, 3, 24), rng.normal(size=(24, 5))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    precisions = []
    for query in range(24):
        others = np.arange(24) != query
        precisions.append(metrics.average_precision_score(ys[others] == ys[query], (unit @ unit[query])[others]))
    cases["retrieval-vectors"] = case(vectors, ys, {"mean-average-precision": float(np.mean(precisions))})
    ys, scores = rng.integers(0, 9, 12), np.round(rng.normal(size=(12, 9)), 1)
    precisions = [metrics.average_precision_score(np.arange(9) == y, row) for y, row in zip(ys, scores)]
    cases["retrieval-places"] = case(scores, ys, {"mean-average-precision": float(np.mean(precisions))})
    ys = (rng.random((12, 9)) < 0.3).astype(float)
    precisions = [metrics.average_precision_score(y, row) for y, row in zip(ys, scores) if y.any()]
    cases["retrieval-relevant"] = case(scores, ys, {"mean-average-precision": float(np.mean(precisions))})

    json.dump({"scikit-learn": sklearn.__version__, "cases": cases}, sys.stdout, indent=None, separators=(",", ":"))
    sys.stdout.write("\n")


main()
