"""Values and gradients of weighted losses and of norms, for the tests of `host/tensor`.

    python tests/reference/weighted_losses.py > tests/reference/weighted_losses.json

Needs what `requirements-training.txt` names. Numbers are PyTorch's in double precision.
"""

import json
import sys

import torch
import torch.nn.functional as F

LOGITS = [[0.3, -1.2, 2.0], [1.5, 0.1, -0.4], [-0.7, 0.9, 0.2], [2.2, -3.1, 0.6]]
LABELS = [2, 0, -100, 1]
SHARES = [[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]]
WEIGHTS = [0.5, 2.0, 1.25]
BINARY = [[40.0, -1.2, 0.3], [-60.0, 2.5, -0.1]]
TARGETS = [[1.0, 0.0, 0.4], [1.0, 0.0, 1.0]]
POSITIVE = [3.0, 0.5, 1.5]


def with_gradient(loss, x):
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    out = loss(x)
    out.sum().backward()
    return {"value": out.flatten().tolist(), "gradient": x.grad.flatten().tolist()}


def main():
    f64 = lambda values: torch.tensor(values, dtype=torch.float64)
    cases = {}
    for reduction in ("mean", "sum", "none"):
        for smoothing in (0.0, 0.3):
            for name, target in (("labels", torch.tensor(LABELS)), ("probabilities", f64(SHARES))):
                cases[f"cross-entropy/{name}/{reduction}/{smoothing}"] = with_gradient(
                    lambda x: F.cross_entropy(
                        x, target, weight=f64(WEIGHTS), reduction=reduction, label_smoothing=smoothing, ignore_index=-100
                    ),
                    LOGITS,
                )
        cases[f"bce-with-logits/{reduction}"] = with_gradient(
            lambda x: F.binary_cross_entropy_with_logits(x, f64(TARGETS), pos_weight=f64(POSITIVE), reduction=reduction), BINARY
        )
    inputs = {
        "logits": LOGITS,
        "labels": LABELS,
        "probabilities": SHARES,
        "weights": WEIGHTS,
        "binary": BINARY,
        "targets": TARGETS,
        "positive": POSITIVE,
    }
    json.dump({"torch": torch.__version__, "inputs": inputs, "cases": cases}, sys.stdout, indent=1)


main()
