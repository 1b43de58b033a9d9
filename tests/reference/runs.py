"""Writes the losses that `tests/pytorch.rs` compares with for losses and optimizers, as PyTorch and schedulefree give them.

Run from the top of the repository, in an environment with tests/reference/requirements-training.txt and after `cargo build`:

    python tests/reference/runs.py target/debug/fluxbay > tests/reference/runs.json

Each case is a run of the product: `base` names the data and the model, `sections` adds loss and optimizer. The weights that
the run begins with are put into the same network in PyTorch, which is then trained on the same batches. `bias` holds the last bias of the output layer.
"""

import functools
import inspect
import json
import math
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import schedulefree
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent))
from shared import digits, tensors  # noqa: E402

RUN = """[run]
seed = 7
epochs = {epochs}
threads = 1
[data]
{data}
[loader]
batch-size = 64
shuffle = false
drop-last = true
validation = 0.0
[model]
component = "mlp"
hidden = [24]
{model}
[[phase]]
component = "training"
"""

DIGITS = 'component = "idx"\nimages = "IMAGES"\nlabels = "LABELS"\nstandardize = true'
TABLE = 'component = "csv"\npath = "table.csv"\ntarget = "y"\ntask = "regression"\nstandardize = false'
SOFT = 'component = "soft"'
BASES = {
    "digits": RUN.format(epochs=1, data=DIGITS, model=""),
    "table": RUN.format(epochs=10, data=TABLE, model=""),
    "soft": RUN.format(epochs=10, data=SOFT, model=""),
}

SGD = '[optimizer]\ncomponent = "sgd"\nlearning-rate = 0.1\n'
CROSS_ENTROPY = '[loss]\ncomponent = "cross-entropy"\n'
WEIGHTS = [1.0, 0.5, 2.0, 1.0, 0.0, 3.0, 1.0, 1.0, 0.25, 1.0]


def table():
    """64 rows with a target of 0 or 1."""
    rows = [(math.sin(i), math.cos(2.0 * i), math.sin(0.3 * i)) for i in range(64)]
    lines = [f"{a:.6f},{b:.6f},{c:.6f},{int(a + 0.5 * b > 0.6)}" for a, b, c in rows]
    return "a,b,c,y\n" + "\n".join(lines) + "\n"


def sigmoid_focal(x, y, gamma, alpha):
    """torchvision.ops.sigmoid_focal_loss, reduction = mean."""
    p = torch.sigmoid(x)
    loss = F.binary_cross_entropy_with_logits(x, y, reduction="none")
    loss = loss * (1 - (p * y + (1 - p) * (1 - y))) ** gamma
    return (loss * (alpha * y + (1 - alpha) * (1 - y))).mean()


def focal(x, y, gamma, alpha):
    """Lin et al. 2017, equation 5, with several classes."""
    log_p = F.log_softmax(x, -1).gather(1, y[:, None]).squeeze(1)
    return (alpha[y] * (1 - log_p.exp()) ** gamma * -log_p).mean()


def losses():
    weights = torch.tensor(WEIGHTS)
    listed = f"class-weights = {WEIGHTS}\n"
    ce = F.cross_entropy
    bce = F.binary_cross_entropy_with_logits
    loss = lambda name, more="": f'[loss]\ncomponent = "{name}"\n{more}{SGD}'
    return {
        "cross-entropy, weights": ("digits", loss("cross-entropy", listed), lambda x, y: ce(x, y, weights)),
        "cross-entropy, ignored label": ("digits", loss("cross-entropy", "ignore-index = 3\n"), lambda x, y: ce(x, y, ignore_index=3)),
        "cross-entropy, all": (
            "digits",
            loss("cross-entropy", listed + "ignore-index = 3\nlabel-smoothing = 0.2\n"),
            lambda x, y: ce(x, y, weights, ignore_index=3, label_smoothing=0.2),
        ),
        "cross-entropy, soft targets with weights": (
            "soft",
            loss("cross-entropy", "class-weights = [1.0, 0.5, 2.0]\nlabel-smoothing = 0.1\n"),
            lambda x, y: ce(x, y, torch.tensor([1.0, 0.5, 2.0]), label_smoothing=0.1),
        ),
        "focal": (
            "digits",
            loss("focal", f"gamma = 1.5\nalpha = {WEIGHTS}\n"),
            lambda x, y: focal(x, y, 1.5, weights),
        ),
        "focal, binary": (
            "table",
            loss("focal", "gamma = 2.0\nalpha = [0.25]\n"),
            lambda x, y: sigmoid_focal(x, y, 2.0, 0.25),
        ),
        "bce-with-logits": ("table", loss("bce-with-logits"), bce),
        "bce-with-logits, weight": (
            "table",
            loss("bce-with-logits", "pos-weight = [3.0]\n"),
            lambda x, y: bce(x, y, pos_weight=torch.tensor([3.0])),
        ),
        "bce-with-logits, weights": (
            "soft",
            loss("bce-with-logits", "pos-weight = [3.0, 1.0, 0.5]\n"),
            lambda x, y: bce(x, y, pos_weight=torch.tensor([3.0, 1.0, 0.5])),
        ),
        "kl-divergence": ("soft", loss("kl-divergence"), lambda x, y: F.kl_div(F.log_softmax(x, -1), y, reduction="batchmean")),
    }


class Muon:
    """torch.optim.Muon for matrices, AdamW for the rest. The iteration is computed in single instead of half precision."""

    def __init__(self, parameters, **settings):
        from torch.optim import _muon

        if not hasattr(_muon, "single_precision"):
            source = inspect.getsource(_muon._zeropower_via_newtonschulz)
            assert "torch.bfloat16" in source
            exec(source.replace("torch.bfloat16", "torch.float32"), vars(_muon))
            _muon.single_precision = True
        parameters = list(parameters)
        matrices = [p for p in parameters if p.dim() == 2]
        rest = [p for p in parameters if p.dim() != 2]
        adamw = {"lr": 1e-3, "weight_decay": settings["weight_decay"]}
        self.parts = [torch.optim.Muon(matrices, **settings), torch.optim.AdamW(rest, **adamw)]

    def zero_grad(self):
        [part.zero_grad() for part in self.parts]

    def step(self):
        [part.step() for part in self.parts]


class ScheduleFree(schedulefree.AdamWScheduleFree):
    def __init__(self, parameters, **settings):
        super().__init__(list(parameters), foreach=False, **settings)
        self.train()


def optimizers():
    o = torch.optim
    opt = lambda name, more: f'{CROSS_ENTROPY}[optimizer]\ncomponent = "{name}"\n{more}'
    average = '[[callback]]\ncomponent = "schedule-free-average"\n'
    return {
        "adagrad": (opt("adagrad", "learning-rate = 0.05\n"), lambda p: o.Adagrad(p, lr=0.05)),
        "adagrad, all": (
            opt("adagrad", "learning-rate = 0.05\nlearning-rate-decay = 0.1\nweight-decay = 0.01\ninitial-accumulator = 0.1\nepsilon = 1e-6\n"),
            lambda p: o.Adagrad(p, lr=0.05, lr_decay=0.1, weight_decay=0.01, initial_accumulator_value=0.1, eps=1e-6),
        ),
        "adafactor": (opt("adafactor", "learning-rate = 0.1\n"), lambda p: o.Adafactor(p, lr=0.1)),
        "adafactor, all": (
            opt("adafactor", "learning-rate = 0.3\nbeta2-decay = -0.5\nepsilon1 = 1e-6\nepsilon2 = 0.01\nclip = 1.5\nweight-decay = 0.1\n"),
            lambda p: o.Adafactor(p, lr=0.3, beta2_decay=-0.5, eps=(1e-6, 0.01), d=1.5, weight_decay=0.1),
        ),
        "muon": (
            opt("muon", "learning-rate = 0.02\nweight-decay = 0.1\n"),
            lambda p: Muon(p, lr=0.02, weight_decay=0.1),
        ),
        "muon, all": (
            opt("muon", 'learning-rate = 0.01\nmomentum = 0.8\nnesterov = false\nweight-decay = 0.0\niterations = 3\nadjustment = "match-rms-adamw"\n'),
            lambda p: Muon(p, lr=0.01, momentum=0.8, nesterov=False, weight_decay=0.0, ns_steps=3, adjust_lr_fn="match_rms_adamw"),
        ),
        "schedule-free-adamw": (
            opt("schedule-free-adamw", "learning-rate = 0.01\n") + average,
            lambda p: ScheduleFree(p, lr=0.01),
        ),
        "schedule-free-adamw, all": (
            opt("schedule-free-adamw", "learning-rate = 0.02\nbeta1 = 0.8\nbeta2 = 0.99\nepsilon = 1e-6\nweight-decay = 0.1\nwarmup-steps = 5\nweight-step-power = 1.0\n") + average,
            lambda p: ScheduleFree(p, lr=0.02, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.1, warmup_steps=5, r=1.0),
        ),
    }


def batches(base):
    if base == "digits":
        return digits(64)
    if base == "table":
        rows = [line.split(",") for line in table().splitlines()[1:]]
        values = torch.tensor(np.array(rows, dtype=np.float64)).float()
        return [(values[:, :3], values[:, 3:])] * 10
    x = [[math.sin(i * (k + 1.0)) for k in range(4)] for i in range(64)]
    y = [[1.0 + math.sin(i + 2.0 * k) for k in range(3)] for i in range(64)]
    y = [[value / sum(row) for value in row] for row in y]
    return [(torch.tensor(x), torch.tensor(y))] * 10


@functools.cache
def first_weights(binary, base):
    """Those of a run whose learning rate is 0; parameters depend on the seed and the shapes."""
    source = {"digits": "cross-entropy", "table": "mse", "soft": "mse"}[base]
    folder = Path(__file__).resolve().parent.parent.parent / "plugins/data/digits"
    text = BASES[base].replace("IMAGES", str(folder / "images-idx3-ubyte.gz")).replace("LABELS", str(folder / "labels-idx1-ubyte.gz"))
    if base == "soft":
        # The same shapes from a table: 4 inputs, 3 outputs.
        text = text.replace(SOFT, TABLE.replace("table.csv", "four.csv")).replace("hidden = [24]", "hidden = [24]\noutputs = 3")
        source = None
    with tempfile.TemporaryDirectory() as name:
        name = Path(name)
        (name / "table.csv").write_text(table())
        (name / "four.csv").write_text("a,b,c,d,y\n" + "".join(f"{i},1.5,2,3,{i % 3}\n" for i in range(64)))
        if source is None:
            text = text.replace('task = "regression"', 'task = "classification"')
            source = "cross-entropy"
        run_file = name / "run.toml"
        run_file.write_text(f'{text}[loss]\ncomponent = "{source}"\n[optimizer]\ncomponent = "sgd"\nlearning-rate = 0.0\n')
        command = [binary, "train", run_file, "--quiet", "--run-dir", name / "record", "--set", "checkpoints.every-epochs=0"]
        subprocess.run(command, check=True)
        found = tensors(name / "record" / "model.safetensors")
    return {path.removeprefix("model."): tensor for path, tensor in found.items()}


def train(binary, base, loss, optimizer):
    w = {name: nn.Parameter(tensor.clone()) for name, tensor in first_weights(binary, base).items()}
    optimizer = optimizer(w.values())
    values = []
    for x, y in batches(base):
        hidden = F.relu(F.linear(x.flatten(1), w["hidden.0.weight"], w["hidden.0.bias"]))
        value = loss(F.linear(hidden, w["output.weight"], w["output.bias"]), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    if isinstance(optimizer, ScheduleFree):
        optimizer.eval()
    return {"losses": values, "bias": w["output.bias"].tolist()}


def main():
    torch.set_num_threads(1)
    binary = Path(sys.argv[1]).resolve()
    cases = {}
    for name, (base, sections, loss) in losses().items():
        sgd = lambda p: torch.optim.SGD(p, lr=0.1)
        cases[name] = {"base": base, "sections": sections, **train(binary, base, loss, sgd)}
    for name, (sections, optimizer) in optimizers().items():
        cases[name] = {"base": "digits", "sections": sections, **train(binary, "digits", F.cross_entropy, optimizer)}
    versions = {"torch": torch.__version__, "schedulefree": version("schedulefree")}
    json.dump({**versions, "table": table(), "bases": BASES, "cases": cases}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
