"""Writes the losses of 20 steps that `tests/pytorch.rs` compares with in both precisions, as PyTorch gives them.

Run from the top of the repository, in an environment with tests/reference/requirements-training.txt, after a build:

    python tests/reference/precision.py target/release/fluxbay > tests/reference/precision.json
    python tests/reference/precision.py target/release/fluxbay --real-size   # compares W5 and W6 of the benchmarks, writes nothing
    python tests/reference/precision.py target/release/fluxbay --real-size --f32   # where PyTorch's bf16 takes minutes

The weights that a run of the product begins with are put into the same network in PyTorch, which is trained on the same
batches: once in f32, and once with `torch.autocast` to bf16.
"""

import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from shared import digits, tensors  # noqa: E402
from training import linear  # noqa: E402

STEPS = 20
HEAD = """[run]
name = "precision"
seed = 7
epochs = 1
threads = 2

[loader]
batch-size = SIZE
shuffle = false
drop-last = true
validation = 0.0
limit-batches = 20

[loss]
component = "cross-entropy"

[[phase]]
component = "training"

"""
TEXT = '[data]\ncomponent = "text"\npath = "LICENSE"\ncontext = CONTEXT\nstride = STRIDE\nvalidation = 0.0\n\n'
IMAGES = '[data]\ncomponent = "idx"\nimages = "IMAGES"\nlabels = "LABELS"\nstandardize = true\n\n'
SGD = '[optimizer]\ncomponent = "sgd"\nlearning-rate = 0.01\nmomentum = 0.9\n'
ADAMW = '[optimizer]\ncomponent = "adamw"\nlearning-rate = 1e-3\n'
CASES = {
    # The second stage begins with a stride of 2; the others are computed by Winograd's method.
    "resnet": {
        "size": 64, "stages": [1, 1],
        "run": f'{HEAD}{IMAGES}[model]\ncomponent = "resnet"\nsmall-images = true\nstem = 32\nwidths = [32, 64]\nblocks = [1, 1]\n\n{SGD}',
    },
    "gpt": {
        "size": 16, "heads": 4, "layers": 2, "context": 32, "stride": 16,
        "run": f'{HEAD}{TEXT}[model]\ncomponent = "gpt"\nlayers = 2\nwidth = 64\nheads = 4\n\n{ADAMW}',
    },
}  # fmt: skip
REAL = {
    "w5": {"size": 64, "stages": [2, 2, 2, 2], "run": f'{HEAD}{IMAGES}[model]\ncomponent = "resnet"\nsmall-images = true\n\n{SGD}'},
    "w6": {
        "size": 16, "heads": 6, "layers": 6, "context": 256, "stride": 32,
        "run": f'{HEAD}{TEXT}[model]\ncomponent = "gpt"\nlayers = 6\nwidth = 384\nheads = 6\n\n{ADAMW}',
    },
}  # fmt: skip


def resnet(w, x, case):
    def layer(conv, norm, x, stride):
        weight = w[f"{conv}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        return F.batch_norm(x, None, None, w[f"{norm}.weight"], w[f"{norm}.bias"], training=True)

    h = F.relu(layer("conv1", "bn1", x[:, None], 1))
    for stage, depth in enumerate(case["stages"], 1):
        for block in range(depth):
            at = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            branch = F.relu(layer(f"{at}.conv1", f"{at}.bn1", h, stride))
            branch = layer(f"{at}.conv2", f"{at}.bn2", branch, 1)
            same = layer(f"{at}.downsample.0", f"{at}.downsample.1", h, stride) if f"{at}.downsample.0.weight" in w else h
            h = F.relu(branch + same)
    return linear(w, "fc", h.mean((2, 3)))


def gpt(w, x, case):
    width = w["positions"].shape[1]
    norm = lambda path, x: F.layer_norm(x, (width,), w[f"{path}.weight"], w[f"{path}.bias"], 1e-5)
    h = w["tokens.weight"][x] + w["positions"]
    for block in (f"block.{at}" for at in range(case["layers"])):
        packed = linear(w, f"{block}.attention.qkv", norm(f"{block}.attention-norm", h))
        q, k, v = (part.unflatten(2, (case["heads"], -1)).transpose(1, 2) for part in packed.split(width, dim=2))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        h = h + linear(w, f"{block}.attention.proj", mixed)
        wide = F.gelu(linear(w, f"{block}.expand", norm(f"{block}.feed-norm", h)), approximate="tanh")
        h = h + linear(w, f"{block}.contract", wide)
    return linear(w, "output", norm("norm", h))


def images(folder, size):
    """Random images of 28 x 28 in IDX files, and their batches."""
    draw = np.random.default_rng(1)
    x, y = draw.integers(0, 256, (STEPS * size, 28, 28), np.uint8), draw.integers(0, 10, STEPS * size).astype(np.uint8)
    (folder / "images").write_bytes(struct.pack(">IIII", 0x803, len(x), 28, 28) + x.tobytes())
    (folder / "labels").write_bytes(struct.pack(">II", 0x801, len(y)) + y.tobytes())
    scaled = ((x.astype(np.float64) - x.mean()) / x.std()).astype(np.float32)
    pairs = torch.tensor(scaled).split(size), torch.tensor(y.astype(np.int64)).split(size)
    return list(zip(*pairs))


def windows(size, context, stride):
    content = (HERE.parent.parent / "LICENSE-APACHE").read_text()
    letters = sorted(set(content))
    ids = torch.tensor([letters.index(letter) for letter in content])
    starts = range(0, len(ids) - context, stride)
    x, y = (torch.stack([ids[start + offset : start + offset + context] for start in starts]) for offset in (0, 1))
    return [(x[at : at + size], y[at : at + size]) for at in range(0, len(x) - size + 1, size)]


def product(binary, folder, run, record, *changes):
    """Trains, and returns the record."""
    (folder / "run.toml").write_text(run)
    command = [binary, "train", folder / "run.toml", "--quiet", "--run-dir", folder / record]
    subprocess.run(command + [word for change in changes for word in ("--set", change)], check=True)
    return folder / record


def reference(case, forward, batches, start, autocast, dtype=torch.float32):
    w = {name: nn.Parameter(tensor.to(dtype, copy=True)) for name, tensor in start.items()}
    optimizer = (
        torch.optim.SGD(w.values(), lr=0.01, momentum=0.9) if forward is resnet else torch.optim.AdamW(w.values(), lr=1e-3)
    )
    losses = []
    for x, y in batches[:STEPS]:
        x = x.to(dtype) if x.is_floating_point() else x
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = F.cross_entropy(forward(w, x, case).flatten(0, -2), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def one(binary, name, case, real):
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        forward = resnet if "stages" in case else gpt
        run = case["run"].replace("SIZE", str(case["size"]))
        if forward is gpt:
            run = run.replace("CONTEXT", str(case["context"])).replace("STRIDE", str(case["stride"]))
            batches = windows(case["size"], case["context"], case["stride"])
        elif real:
            batches = images(folder, case["size"])
        else:
            batches = digits(case["size"])
        sources = HERE.parent.parent / "plugins/data/digits"
        files = {"LICENSE": HERE.parent.parent / "LICENSE-APACHE"}
        files["IMAGES"] = folder / "images" if real else sources / "images-idx3-ubyte.gz"
        files["LABELS"] = folder / "labels" if real else sources / "labels-idx1-ubyte.gz"
        placed = run
        for word, path in files.items():
            placed = placed.replace(word, str(path))
        found = tensors(product(binary, folder, placed, "first", "optimizer.learning-rate=0") / "model.safetensors")
        start = {path.removeprefix("model."): tensor for path, tensor in found.items() if "running" not in path}
        losses = {}
        for kind in ("f32", "bf16") if "--f32" not in sys.argv else ("f32",):
            theirs = losses[kind] = reference(case, forward, batches, start, kind == "bf16")
            if not real:
                continue
            record = product(binary, folder, placed, kind, f'run.precision="{kind}"')
            lines = map(json.loads, (record / "metrics.jsonl").read_text().splitlines())
            ours = [line["value"] for line in lines if line["scope"] == "step" and line["name"] == "loss"]
            worst = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
            relative = max(abs(a - b) / b for a, b in zip(ours, theirs, strict=True))
            print(f"{name} {kind}: {len(ours)} losses from {ours[0]:.4f} to {ours[-1]:.4f}, differences up to {worst:.1e} ({relative:.1e})", flush=True)
            if kind == "f32":
                # Rounding grows from step to step in some networks: how far it takes both from f64.
                exact = reference(case, forward, batches, start, False, torch.float64)
                for whose, found in [("the product's", ours), ("PyTorch's", theirs)]:
                    far = [abs(a - b) / b for a, b in zip(found, exact, strict=True)]
                    near = next((step for step, one in enumerate(far) if one > 1e-5), len(far))
                    print(f"{name}: {whose} f32 is within 1e-5 of f64 for {near} steps, and up to {max(far):.1e} away later", flush=True)
        if not real:
            return {"run": run, **losses}
        return None


if __name__ == "__main__":
    torch.set_num_threads(2)
    real = "--real-size" in sys.argv
    cases = REAL if real else CASES
    found = {name: one(sys.argv[1], name, case, real) for name, case in cases.items()}
    if not real:
        json.dump({"torch": torch.__version__, "cases": found}, sys.stdout, indent=1)
        print()
