"""Writes the numbers that `tests/pytorch.rs` and the tests of the optimizers compare with, as PyTorch gives them.

Run from the top of the repository, in an environment with tests/reference/requirements-training.txt and after
`cargo build --release`:

    python tests/reference/training.py target/release/fluxbay > tests/reference/pytorch.json

Models: the weights that a run of the product begins with are put into the same network in PyTorch, which is then trained on
the same batches; kept is the loss of each step. Optimizers: five numbers over 100 steps.
"""

import json
import math
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent))
from shared import digits, tensors  # noqa: E402

HERE = Path(__file__).resolve().parent
KEPT = (1, 2, 5, 10, 50, 100)


def gradient(parameter, step):
    """Of a bowl around 0.3, shaken by the step's number."""
    noise = torch.tensor([0.5 * math.sin(step * (index + 1.0)) for index in range(len(parameter))], dtype=parameter.dtype)
    return parameter.detach() - 0.3 + noise


class Lion(torch.optim.Optimizer):
    """PyTorch has no Lion: algorithm 2 of Chen et al. 2023, arXiv:2302.06675."""

    def __init__(self, parameters, lr, betas, weight_decay):
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                beta1, beta2 = group["betas"]
                update = (beta1 * m + (1 - beta1) * p.grad).sign()
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * update)
                m.mul_(beta2).add_(p.grad, alpha=1 - beta2)


def optimizers():
    cases = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
        "sgd-momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.2, weight_decay=0.01),
        "sgd-nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, weight_decay=0.02, nesterov=True),
        "adam": lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.1),
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.1),
        "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.95, eps=1e-6, weight_decay=0.01),
        "rmsprop-momentum": lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.95, eps=1e-6, momentum=0.7),
        "rmsprop-centered": lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.95, eps=1e-6, momentum=0.7, centered=True),
        "lion": lambda p: Lion(p, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1),
    }
    results = {}
    for name, make in cases.items():
        parameter = nn.Parameter(torch.tensor([1.5, -0.4, 0.3, 2.0, -1.1], dtype=torch.float64))
        optimizer = make([parameter])
        kept = {}
        for step in range(1, KEPT[-1] + 1):
            parameter.grad = gradient(parameter, step)
            optimizer.step()
            if step in KEPT:
                kept[str(step)] = parameter.detach().tolist()
        results[name] = kept
    return results


def first_weights(binary, name):
    """What a run begins with: those of a run whose learning rate is 0."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record"
        changes = ["--set", "optimizer.learning-rate=0"]
        subprocess.run([binary, "train", HERE / f"{name}.toml", "--quiet", "--run-dir", record, *changes], check=True)
        found = tensors(record / "model.safetensors")
    return {path.removeprefix("model."): nn.Parameter(tensor) for path, tensor in found.items()}


def text(size, context):
    content = (HERE.parent.parent / "LICENSE-APACHE").read_text()
    letters = sorted(set(content))
    ids = torch.tensor([letters.index(letter) for letter in content])
    starts = range(0, len(ids) - context, context)
    x, y = (torch.stack([ids[start + offset : start + offset + context] for start in starts]) for offset in (0, 1))
    return [(x[at : at + size], y[at : at + size]) for at in range(0, len(x) - size + 1, size)]


def linear(w, path, x):
    return F.linear(x, w[f"{path}.weight"], w.get(f"{path}.bias"))


def mlp(w, x):
    x = x.flatten(1)
    for layer in ("hidden.0", "hidden.1"):
        x = F.relu(linear(w, layer, x))
    return linear(w, "output", x)


def cnn(w, x):
    x = x[:, None]
    for layer in ("conv.0", "conv.1"):
        x = F.max_pool2d(F.relu(F.conv2d(x, w[f"{layer}.weight"], w[f"{layer}.bias"], padding=1)), 2)
    return linear(w, "output", F.relu(linear(w, "hidden.0", x.flatten(1))))


def gpt(w, x):
    heads, width = 4, w["positions"].shape[1]
    norm = lambda path, x: F.layer_norm(x, (width,), w[f"{path}.weight"], w[f"{path}.bias"], 1e-5)
    h = w["tokens.weight"][x] + w["positions"]
    for block in ("block.0", "block.1"):
        packed = linear(w, f"{block}.attention.qkv", norm(f"{block}.attention-norm", h))
        q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in packed.split(width, dim=2))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        h = h + linear(w, f"{block}.attention.proj", mixed)
        wide = F.gelu(linear(w, f"{block}.expand", norm(f"{block}.feed-norm", h)), approximate="tanh")
        h = h + linear(w, f"{block}.contract", wide)
    return linear(w, "output", norm("norm", h))


def models(binary):
    optimizers = {
        "mlp": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
        "cnn": lambda p: torch.optim.Adam(p, lr=2e-3),
        "gpt": lambda p: torch.optim.AdamW(p, lr=2e-3),
    }
    results = {}
    for name, forward in {"mlp": mlp, "cnn": cnn, "gpt": gpt}.items():
        run = tomllib.loads((HERE / f"{name}.toml").read_text())
        size = run["loader"]["batch-size"]
        batches = text(size, run["data"]["context"]) if name == "gpt" else digits(size)
        weights = first_weights(binary, name)
        optimizer = optimizers[name](weights.values())
        losses = []
        for x, y in batches:
            loss = F.cross_entropy(forward(weights, x).flatten(0, -2), y.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        results[name] = losses
    return results


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump({"torch": torch.__version__, "optimizers": optimizers(), "models": models(sys.argv[1])}, sys.stdout, indent=1)
    print()
