#!/usr/bin/env python3
"""Kills training processes at random moments, resumes them, and compares the parameters with those of a run that nobody killed.

    python3 -m venv venv && venv/bin/pip install -r tests/benches/requirements-data.txt
    cargo build --release --workspace
    venv/bin/python tests/benches/kills.py --kills 200

Half of the kills hit a run on JPEGs with random crops, flips and RandAugment, the other half a language model on texts that are tokenised
and packed into rows. Each resumed process has other numbers of loader threads and of batches ahead. A kill counts if the process was
training or loading when it came.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
REST = '[loss]\ncomponent = "cross-entropy"\nignore-index = 0\n[optimizer]\ncomponent = "adamw"\n[checkpoints]\nevery-steps = 7\nkeep-last = 2\n'
IMAGES = """[run]
seed = 5
threads = 1
epochs = {epochs}
[data]
component = "images"
folder = "photos"
size = [40, 40]
values = "bytes"
[loader]
batch-size = 8
[[transform]]
component = "random-resized-crop"
size = [32, 32]
when = "training"
[[transform]]
component = "center-crop"
size = [32, 32]
when = "evaluation"
[[transform]]
component = "flip"
[[transform]]
component = "rand-augment"
[[transform]]
component = "normalize"
[model]
component = "mlp"
hidden = [16]
"""
TEXTS = """[run]
seed = 5
threads = 1
epochs = {epochs}
[data]
component = "jsonl"
path = "reviews.jsonl"
task = "language-model"
padding = "longest"
vocabulary = 300
length = 48
[loader]
ragged = "pack"
batch-size = 4
[model]
component = "gpt"
layers = 1
width = 16
heads = 2
"""


def photos(folder):
    from PIL import Image

    for number in range(64):
        path = folder / "photos" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((60, 50), 80).convert("RGB").save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", default=ROOT / "target/release/fluxbay", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--images-epochs", type=int, default=500)
    parser.add_argument("--texts-epochs", type=int, default=100)
    options = parser.parse_args()
    draw = random.Random(9)
    binary = options.binary.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos(folder)
        (folder / "reviews.jsonl").write_bytes((ROOT / "docs/examples/runs/reviews.jsonl").read_bytes())
        for kind, text, epochs in [("images", IMAGES, options.images_epochs), ("texts", TEXTS, options.texts_epochs)]:
            (folder / f"{kind}.toml").write_text(text.format(epochs=epochs) + REST)

            def command(*arguments):
                return subprocess.Popen(
                    [binary, *arguments, "--plugin-dir", binary.parent],
                    cwd=folder,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )

            def finish(child):
                error = child.communicate()[1]
                if child.returncode:
                    sys.exit(error.decode())

            begin = time.perf_counter()
            finish(command("train", f"{kind}.toml", "--run-dir", f"{kind}-whole"))
            whole = time.perf_counter() - begin
            run, kills, ended = f"{kind}-killed", 0, False
            wanted = options.kills // 2
            # So long on average that the run ends some time after the last kill.
            mean = 0.9 * whole / wanted
            child = command("train", f"{kind}.toml", "--run-dir", run)
            while kills < wanted:
                while not ended and not (folder / run / "checkpoints").is_dir():
                    time.sleep(0.01)
                    ended = child.poll() is not None
                time.sleep(0.15 + 2 * mean * draw.random())
                if child.poll() is not None:
                    break
                # The process that watches, and the one that trains.
                os.killpg(child.pid, signal.SIGKILL)
                child.communicate()
                kills += 1
                loader = ["--set", f"loader.threads={draw.choice([1, 2, 4])}", "--set", f"loader.prefetch={draw.choice([0, 2, 9])}"]
                child = command("resume", run, "--allow-other-settings", *loader)
            finish(child)
            same = [(folder / one / "model.safetensors").read_bytes() for one in (run, f"{kind}-whole")]
            if same[0] != same[1]:
                sys.exit(f"{kind}: the parameters differ after {kills} kills")
            steps = sum(1 for _ in open(folder / f"{kind}-whole/metrics.jsonl"))
            print(f"{kind}: the same parameters after {kills} kills; {steps} lines of metrics, {whole:.0f} s without kills", flush=True)


if __name__ == "__main__":
    main()
