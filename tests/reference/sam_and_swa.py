"""Writes the numbers of sharpness-aware minimisation and stochastic weight averaging that `tests/pytorch.rs` compares with.

Run from the top of the repository, in an environment with tests/reference/requirements-training.txt:

    python tests/reference/sam_and_swa.py target/release/fluxbay > tests/reference/sam_and_swa.json

The network, its first weights and the batches are those of mlp.toml (see training.py).
"""

import json
import sys

import torch
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from training import digits, first_weights, mlp

BATCH = 64


def optimizer_of(weights):
    return torch.optim.SGD(weights.values(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)


def sam(binary, rho, adaptive):
    """The loss at the parameters in each step of one epoch, as in https://github.com/davda54/sam (commit 3c3afdf)."""
    weights = first_weights(binary, "mlp")
    optimizer = optimizer_of(weights)
    losses = []
    for x, y in digits(BATCH):
        loss = F.cross_entropy(mlp(weights, x), y)
        optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            norm = torch.norm(
                torch.stack([((p.abs() if adaptive else 1.0) * p.grad).norm(p=2) for p in weights.values()]), p=2
            )
            originals = {}
            for name, p in weights.items():
                originals[name] = p.clone()
                p.add_((p.square() if adaptive else 1.0) * p.grad * rho / (norm + 1e-12))
        optimizer.zero_grad()
        F.cross_entropy(mlp(weights, x), y).backward()
        with torch.no_grad():
            for name, p in weights.items():
                p.copy_(originals[name])
        optimizer.step()
        losses.append(loss.item())
    return losses


class Network(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.names = list(weights)
        self.weights = torch.nn.ParameterList(weights.values())

    def forward(self, x):
        return mlp(dict(zip(self.names, self.weights)), x)


def swa(binary, epochs, start):
    """The mean loss of the averaged model over all batches after each of the epochs from `start`."""
    weights = first_weights(binary, "mlp")
    network = Network(weights)
    averaged = AveragedModel(network)
    optimizer = optimizer_of(weights)
    losses = []
    for epoch in range(1, epochs + 1):
        for x, y in digits(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(network(x), y).backward()
            optimizer.step()
        if epoch >= start:
            averaged.update_parameters(network)
            with torch.no_grad():
                means = [F.cross_entropy(averaged(x), y).item() for x, y in digits(BATCH)]
            losses.append(sum(means) / len(means))
    return losses


if __name__ == "__main__":
    torch.set_num_threads(1)
    binary = sys.argv[1]
    results = {
        "torch": torch.__version__,
        "sam": sam(binary, 0.05, False),
        "sam-adaptive": sam(binary, 0.5, True),
        "swa": swa(binary, 4, 2),
    }
    json.dump(results, sys.stdout, indent=1)
    print()
