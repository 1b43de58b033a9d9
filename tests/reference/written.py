"""Models that fluxbay writes, loaded with the libraries whose names their files have.

    cargo build --workspace
    python tests/reference/written.py [--binary target/debug/fluxbay]

Trains a small model of each kind for two steps on arrays, loads the folder of the run with transformers or
segmentation_models_pytorch, and compares the predictions with those of `fluxbay predict --raw`. Writes `written.json` beside
this file: missing and unexpected names, and the largest difference. Ends with 1 if there are such names, or if predictions
differ by more than 1e-5. Needs the packages of `requirements-families.txt`.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import safetensors.torch
import segmentation_models_pytorch as smp
import torch
import transformers

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-5
SAMPLES = 6
RUN = """
[run]
epochs = 1
default-callbacks = false
[data]
component = "arrays"
path = "{name}.npz"
{data}
[loader]
batch-size = 2
limit-batches = 2
[model]
component = "{component}"
{model}
{phase}[loss]
component = "cross-entropy"
[optimizer]
component = "adamw"
learning-rate = 1e-3
"""

# A model from sounds to texts, of which the names are compared alone: `predict` does not run it.
PHASES = {"whisper-transcription": '[[phase]]\ncomponent = "causal-language"\nbegin = 1\n'}
LANGUAGE = "layers = 2\nwidth = 16\nheads = 4\n"
# Component, class of transformers (none: segmentation_models_pytorch), settings, shapes of inputs and targets.
MODELS = {
    "bert": ("bert", "BertForSequenceClassification", LANGUAGE + "feed-forward = 24", [7], []),
    "gpt2": ("gpt2", "GPT2LMHeadModel", LANGUAGE, [7], [7]),
    "llama": ("llama", "LlamaForCausalLM", LANGUAGE + "groups = 2\nfeed-forward = 24", [7], [7]),
    "mixtral": ("llama", "MixtralForCausalLM", LANGUAGE + "groups = 2\nfeed-forward = 24\nexperts = 4\nexperts-per-token = 2", [7], [7]),
    "whisper": ("whisper", "WhisperForAudioClassification", LANGUAGE + "feed-forward = 24\nplaces = 9", [8, 18], []),
    "whisper-transcription": ("whisper", "WhisperForConditionalGeneration",
                              'head = "transcription"\n' + LANGUAGE + "feed-forward = 24\nplaces = 9\ntext-places = 8", [8, 18], [7]),
    "modern-bert": ("modern-bert", "ModernBertForSequenceClassification", LANGUAGE + "feed-forward = 24", [7], []),
    "unet": ("unet", None, 'encoder = "resnet18"', [3, 64, 64], [64, 64]),
    "unet-bottleneck": ("unet", None, 'encoder = "resnet50"\ndecoder = [64, 48, 32, 16, 8]', [3, 32, 32], [32, 32]),
}
VOCABULARY, CLASSES = 23, 4


def arrays(inputs, targets):
    random = np.random.default_rng(5)
    tokens = len(inputs) == 1
    # Token 0 is the padding of some models.
    xs = random.integers(1, VOCABULARY, (SAMPLES, *inputs)) if tokens else random.normal(0, 1, (SAMPLES, *inputs)).astype(np.float32)
    ys = random.integers(0, VOCABULARY if tokens and targets else CLASSES, (SAMPLES, *targets))
    if tokens:
        xs[0, 0] = VOCABULARY - 1
    ys.flat[:CLASSES] = range(CLASSES)
    return xs, ys


def loaded(folder, kind):
    """The model in evaluation, with the names that are missing and those that it does not know."""
    if kind is None:
        model = smp.from_pretrained(folder)
        found = model.load_state_dict(safetensors.torch.load_file(folder / "model.safetensors"), strict=False)
        names = found.missing_keys, found.unexpected_keys
    else:
        model, info = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
        names = info["missing_keys"], info["unexpected_keys"]
    return model.eval(), *(sorted(one) for one in names)


def compared(fluxbay, folder, name):
    component, kind, settings, inputs, targets = MODELS[name]
    xs, ys = arrays(inputs, targets)
    np.savez(folder / f"{name}.npz", x=xs, y=ys)
    data = "ids = true" if len(inputs) == 1 else ""
    (folder / f"{name}.toml").write_text(RUN.format(
        name=name, data=data, component=component, model=settings, phase=PHASES.get(name, "")))
    fluxbay("train", f"{name}.toml", "--run-dir", name, "-q")
    if name in PHASES:
        _, missing, unexpected = loaded(folder / name, kind)
        return {"missing": missing, "unexpected": unexpected, "largest_difference": None}
    fluxbay("predict", name, f"{name}.npz", "--raw", "-q", "-o", f"{name}.csv")
    with open(folder / f"{name}.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    ours = np.array([[float(cell) for cell in row[1:]] for row in rows])
    model, missing, unexpected = loaded(folder / name, kind)
    with torch.no_grad():
        theirs = model(torch.tensor(xs))
    theirs = getattr(theirs, "logits", theirs).double().reshape(SAMPLES, -1).numpy()
    largest = np.abs(ours - theirs) / np.maximum(1, np.abs(theirs))
    return {"missing": missing, "unexpected": unexpected, "largest_difference": float(largest.max())}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("--binary", type=Path, default=HERE.parent.parent / "target/debug/fluxbay")
    binary = arguments.parse_args().binary.resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)

        def fluxbay(*arguments):
            subprocess.run([binary, *arguments], cwd=folder, check=True, stdout=sys.stderr)

        models = {name: compared(fluxbay, folder, name) for name in MODELS}
    versions = {package.__name__: package.__version__ for package in [torch, transformers, smp, np]}
    (HERE / "written.json").write_text(json.dumps({"versions": versions, "models": models}, indent=1) + "\n")
    wrong = [name for name, one in models.items()
             if one["missing"] or one["unexpected"] or not (one["largest_difference"] or 0.0) <= TOLERANCE]
    sys.exit(f"not as written: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
