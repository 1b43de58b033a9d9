"""Writes the losses of runs with parameter groups that `tests/pytorch.rs` compares with, as PyTorch gives them.

Run from the top of the repository, in an environment with tests/reference/requirements-training.txt and after `cargo build`:

    python tests/reference/parameter_groups.py target/debug/fluxbay > tests/reference/parameter_groups.json

The network, its first weights and the batches are those of runs.py.
"""

import json
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

import runs

OPTIMIZER = runs.CROSS_ENTROPY + '[optimizer]\ncomponent = "{}"\nlearning-rate = {}\n{}'


def split(named, *tests):
    """The parameters of each group, the first test that holds decides; the rest last."""
    groups = [[] for _ in range(len(tests) + 1)]
    for name, p in named.items():
        place = next((at for at, test in enumerate(tests) if test(name, p)), len(tests))
        groups[place].append(p)
    return groups


def exempt_vectors(named):
    vectors, rest = split(named, lambda _, p: p.dim() <= 1)
    return torch.optim.AdamW([{"params": rest}, {"params": vectors, "weight_decay": 0.0}], lr=0.01, weight_decay=0.3)


def several(named):
    bias, head, biases, rest = split(
        named,
        lambda name, _: name == "output.bias",
        lambda name, _: name.startswith("output."),
        lambda name, _: name.endswith(".bias"),
    )
    return torch.optim.SGD(
        [
            {"params": bias, "lr": 0.3, "weight_decay": 0.0},
            {"params": head, "lr": 0.3},
            {"params": biases, "momentum": 0.5},
            {"params": rest},
        ],
        lr=0.1,
        momentum=0.9,
        weight_decay=0.05,
    )


class Scheduled(torch.optim.Adam):
    """The learning rates of the groups: 0.1 - 0.01 t, a tenth of that, and 0.02 + 0.002 t, in step t from 0 to 10, then as in step 10."""

    def __init__(self, named):
        backbone, bias, rest = split(named, lambda name, _: name.startswith("hidden"), lambda name, _: name == "output.bias")
        super().__init__([{"params": rest}, {"params": backbone}, {"params": bias}], lr=0.1, weight_decay=0.01)
        self.time = 0

    def step(self):
        time = min(self.time, 10)
        rate = 0.1 - 0.01 * time
        for group, lr in zip(self.param_groups, [rate, 0.1 * rate, 0.02 + 0.002 * time]):
            group["lr"] = lr
        self.time += 1
        super().step()


CASES = {
    "no decay of vectors": (OPTIMIZER.format("adamw", 0.01, 'weight-decay = 0.3\ndecay-exempt = "vectors"\n'), exempt_vectors),
    "several groups": (
        OPTIMIZER.format(
            "sgd",
            0.1,
            'momentum = 0.9\nweight-decay = 0.05\ndecay-exempt = ["output.bias"]\n'
            '[[optimizer.group]]\nid = "head"\nmatch = "output.*"\nlearning-rate = 0.3\n'
            '[[optimizer.group]]\nmatch = ["*.bias"]\nmomentum = 0.5\n',
        ),
        several,
    ),
    "schedules": (
        OPTIMIZER.format(
            "adam",
            0.1,
            "weight-decay = 0.01\n"
            '[[optimizer.group]]\nid = "backbone"\nmatch = "hidden.*"\nscale = { learning-rate = 0.1 }\n'
            '[[optimizer.group]]\nid = "bias"\nmatch = "output.bias"\nlearning-rate = 0.5\n'
            '[[callback]]\ncomponent = "scheduler"\n[callback.schedules]\n'
            '"optimizer.learning-rate" = { component = "points", points = [[1, 0.1], [11, 0.0]] }\n'
            '"optimizer.bias.learning-rate" = { component = "points", points = [[1, 0.02], [11, 0.04]] }\n',
        ),
        Scheduled,
    ),
}


def main():
    torch.set_num_threads(1)
    binary = Path(sys.argv[1]).resolve()
    cases = {}
    for name, (sections, optimizer) in CASES.items():
        named = list(runs.first_weights(binary, "digits"))
        make = lambda values: optimizer(dict(zip(named, values)))
        cases[name] = {"base": "digits", "sections": sections, **runs.train(binary, "digits", F.cross_entropy, make)}
    bases = {"digits": runs.BASES["digits"]}
    json.dump({"torch": torch.__version__, "table": "", "bases": bases, "cases": cases}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
