#!/usr/bin/env python3
"""Trains the same runs in f32 and in bf16 with several seeds, and compares what they reach in validation.

    cargo build --release --workspace
    python3 tests/benches/precision.py --images FOLDER --text moby_dick.txt
    python3 tests/benches/precision.py --images FOLDER --only cnn,resnet --seeds 5

FOLDER holds Fashion-MNIST or a part of it, in its own four files. Prints accuracies in percent and losses in nats by seed, and the
difference of the means, and ends with 1 if one is above 0.3 points or 0.01 nats. Needs nothing but Python.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parent.parent.parent / "target"))
HEAD = "[run]\nepochs = {epochs}\nthreads = {threads}\ndefault-callbacks = false\n[loss]\ncomponent = \"cross-entropy\"\n"
ACCURACY = '[[callback]]\ncomponent = "recorder"\n[[callback]]\ncomponent = "metrics"\nmetrics = ["accuracy"]\n'
IMAGES = """[data]
component = "idx"
images = "{images}/train-images-idx3-ubyte.gz"
labels = "{images}/train-labels-idx1-ubyte.gz"
validation-images = "{images}/t10k-images-idx3-ubyte.gz"
validation-labels = "{images}/t10k-labels-idx1-ubyte.gz"
standardize = true
"""
# What is compared: the metric, the largest difference of the means, epochs, and the rest of the run file.
RUNS = {
    "cnn": ("accuracy", 0.003, 10, IMAGES + '[model]\ncomponent = "cnn"\n[optimizer]\ncomponent = "adamw"\n'),
    # ResNet-18 of half the width. The learning rate ends at 0, since single steps move the accuracy by more than the limit otherwise.
    "resnet": (
        "accuracy", 0.003, 10,
        IMAGES + '[loader]\nbatch-size = 64\n[model]\ncomponent = "resnet"\nsmall-images = true\nstem = 32\nwidths = [32, 64, 128, 256]\n'
        'blocks = [2, 2, 2, 2]\n[optimizer]\ncomponent = "sgd"\nlearning-rate = 0.05\nmomentum = 0.9\nweight-decay = 5e-4\n'
        '[[callback]]\ncomponent = "scheduler"\n[callback.schedules]\n'
        '"optimizer.learning-rate" = { component = "cos-anneal", high = 0.05, low = 0.0, period = {steps}, restart = false }\n',
    ),
    "gpt": (
        "loss", 0.01, 3,
        '[data]\ncomponent = "text"\npath = "{text}"\ncontext = 64\nstride = 32\n[loader]\nbatch-size = 32\n[model]\ncomponent = "gpt"\n'
        'layers = 3\nwidth = 128\nheads = 4\n[optimizer]\ncomponent = "adamw"\nlearning-rate = 2e-3\nweight-decay = 0.05\n',
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=Path, help="folder with Fashion-MNIST's files")
    parser.add_argument("--text", type=Path, help="a text in English")
    parser.add_argument("--only", default=",".join(RUNS), help="runs, separated by commas")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--binary", type=Path, default=TARGET / "release/fluxbay")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only.split(","):
            metric, most, epochs, rest = RUNS[name]
            data = {"images": options.images and options.images.resolve(), "text": options.text and options.text.resolve()}
            text = HEAD.format(epochs=epochs, threads=options.threads) + ACCURACY
            if options.images:
                data["steps"] = epochs * -(-count(data["images"]) // 64)
            for key, value in data.items():
                rest = rest.replace("{%s}" % key, str(value))
            file = Path(folder) / f"{name}.toml"
            file.write_text(text + rest)
            reached = {precision: [] for precision in ("f32", "bf16")}
            for seed in range(1, options.seeds + 1):
                for precision, values in reached.items():
                    values.append(train(options.binary, file, precision, seed, metric))
                    print(f"{name:7} seed {seed} {precision:5} {metric} {values[-1]:.4f}", flush=True)
            means = {precision: sum(values) / len(values) for precision, values in reached.items()}
            difference = means["bf16"] - means["f32"]
            worse = -difference if metric == "accuracy" else difference
            wrong += worse > most
            print(f"{name:7} means: f32 {means['f32']:.4f}, bf16 {means['bf16']:.4f}, difference {difference:+.4f} (limit {most})")
    sys.exit(wrong > 0)


def count(folder):
    """Images that are trained with."""
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        return int.from_bytes(file.read(8)[4:], "big")


def train(binary, file, precision, seed, metric):
    """The metric of the last validation."""
    record = file.parent / f"{file.stem}-{precision}-{seed}"
    settings = [f"run.precision={precision}", f"run.seed={seed}"]
    command = [binary, "train", file, "--run-dir", record, "--quiet"]
    for setting in settings:
        command += ["--set", setting]
    environment = {**os.environ, "FLUXBAY_PLUGIN_PATH": str(Path(binary).parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    values = [json.loads(line) for line in (record / "metrics.jsonl").read_text().splitlines()]
    of_epochs = [value for value in values if value["scope"] == "epoch" and value["phase"] == "validation" and value["name"] == metric]
    return of_epochs[-1]["value"]


if __name__ == "__main__":
    main()
