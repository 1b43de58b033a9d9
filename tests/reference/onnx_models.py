"""Runs exported models with onnxruntime and records those whose outputs are the host's.

    python tests/reference/onnx_models.py > tests/reference/onnx.json

Needs what `requirements-onnx.txt` names, and the Rust toolchain. Each operation is a model of its own
(`tests/exporting/cases.rs`), run on a number of samples that the export has not seen. Models with the preprocessing of tables,
arrays and pixels are run on raw values. Then trained models of every standard kind are exported and compared with
`fluxbay predict --raw`. Fails with the name of a model that disagrees.

Each differentiable operation is also run in 50 random sizes; `onnx_random.json` has the largest difference of each. With
`--random FOLDER` only that is done, with the models that the tests wrote there (`FLUXBAY_ONNX_CASES`).
"""

import csv
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOLERANCE = 1e-5
# Sums in another order, through several layers.
MODEL_TOLERANCE = 1e-4
# One unit in the last place of a 16-bit number.
SHORT_TOLERANCE = 2e-2


def cargo(*arguments, **environment):
    subprocess.run(["cargo", *arguments], cwd=ROOT, check=True, stdout=sys.stderr, env={**os.environ, **environment})


KINDS = {"tensor(int64)": numpy.int64, "tensor(float)": numpy.float32, "tensor(double)": numpy.float64}


def run(path, *feeds):
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = zip(session.get_inputs(), feeds, strict=True)
    return session.run(None, {one.name: feed.astype(KINDS[one.type]) for one, feed in inputs})


def array(tensor):
    return numpy.array(tensor["values"], dtype=numpy.float64).reshape(tensor["shape"])


def difference(found, expected):
    if found.shape != expected.shape:
        return float("inf")
    found, expected = (numpy.atleast_1d(one.astype(numpy.float64)) for one in (found, expected))
    with numpy.errstate(invalid="ignore"):
        error = numpy.abs(found - expected) / numpy.maximum(1.0, numpy.abs(expected))
    error[(found == expected) | (numpy.isnan(found) & numpy.isnan(expected))] = 0.0
    return float(error.max(initial=0.0))


def checked(path, wrong):
    """The largest difference of a model; notes it in `wrong` if it is too large."""
    case = json.loads(path.with_suffix(".json").read_text())
    # Variants that go through 16-bit numbers.
    short = path.stem.startswith("to-dtype-") and int(path.stem.rsplit("-", 1)[1]) % 3 != 0
    try:
        outputs = run(path, *(array(one) for one in case["inputs"]))
        worst = max(difference(one, array(other)) for one, other in zip(outputs, case["outputs"], strict=True))
    except Exception as error:
        wrong.append(f"{path.stem}: {error}")
        return 0.0
    whole = path.stem.startswith("preprocessing-")
    if worst > (SHORT_TOLERANCE if short else MODEL_TOLERANCE if whole else TOLERANCE):
        wrong.append(f"{path.stem}: differs by {worst}")
    return worst


def random(folder):
    """Checks the random sizes, and records the largest difference of each operation."""
    found, wrong = {}, []
    for path in folder.glob("*-random-*.onnx"):
        name, number = path.stem.rsplit("-random-", 1)
        known = found.setdefault(name, {"sizes": 0, "largest_difference": 0.0, "first": ""})
        known["sizes"] += 1
        known["largest_difference"] = max(known["largest_difference"], checked(path, wrong))
        if number == "0":
            known["first"] = hashlib.sha256(path.read_bytes()).hexdigest()
    if wrong:
        sys.exit("\n".join(wrong))
    recorded = {"versions": versions(), "operations": dict(sorted(found.items()))}
    (ROOT / "tests/reference/onnx_random.json").write_text(json.dumps(recorded, indent=1) + "\n")


def operations(folder):
    cargo("test", "--workspace", "--test", "exporting", "--", "onnxruntime::", "raw_values", FLUXBAY_ONNX_CASES=str(folder))
    recorded, wrong = {}, []
    for path in sorted(path for path in folder.glob("*.onnx") if "-random-" not in path.stem):
        checked(path, wrong)
        recorded[path.stem] = hashlib.sha256(path.read_bytes()).hexdigest()
    if wrong:
        sys.exit("\n".join(wrong))
    random(folder)
    return recorded


MODELS = {
    "mlp": 'component = "mlp"\nhidden = [16, 8]\nactivation = "gelu"\ndropout = 0.2',
    "cnn": 'component = "cnn"\nchannels = [4, 6]\nhidden = [12]',
    "sequential": """component = "sequential"
[[model.layers]]
type = "reshape"
shape = [1, 8, 8]
[[model.layers]]
type = "conv2d"
out = 4
padding = 1
[[model.layers]]
type = "batch-norm"
[[model.layers]]
type = "activation"
function = "silu"
[[model.layers]]
type = "avg-pool2d"
[[model.layers]]
type = "flatten"
[[model.layers]]
type = "layer-norm"
[[model.layers]]
type = "dropout"
[[model.layers]]
type = "linear"
out = 10""",
}


def models(folder):
    cargo("build", "--quiet", "--workspace")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"

    def fluxbay(*arguments):
        subprocess.run([str(target / "fluxbay"), *arguments], cwd=folder, check=True, stdout=sys.stderr)

    digits = '[data]\ncomponent = "digits"\n[loader]\nvalidation = 0.2\n'
    rest = '[loss]\ncomponent = "cross-entropy"\n[optimizer]\ncomponent = "adamw"\n'
    text = folder / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 40)
    runs = {name: digits + f"[model]\n{model}\n" + rest for name, model in MODELS.items()}
    language = '[data]\ncomponent = "text"\npath = "text.txt"\ncontext = 12\n[model]\nlayers = 2\nwidth = 16\nheads = 2\n'
    runs["gpt"] = language + 'component = "gpt"\n' + rest
    runs["mixture"] = language + 'component = "llama"\nfeed-forward = 24\nexperts = 4\nexperts-per-token = 2\n' + rest
    for name, description in runs.items():
        (folder / f"{name}.toml").write_text("[run]\nepochs = 1\n" + description)
        fluxbay("train", f"{name}.toml", "--run-dir", name, "-q", "--limit-batches", "8")
        fluxbay("export", name, "--onnx", f"{name}.onnx")
        fluxbay("predict", name, "--raw", "-o", f"{name}.csv")
        with open(folder / f"{name}.csv", newline="") as file:
            rows = list(csv.reader(file))[1:]
        outputs = numpy.array([[float(cell) for cell in row[2:]] for row in rows])
        keys = [int(row[0]) for row in rows]
        if name in ("gpt", "mixture"):
            # The text's validation windows do not overlap; ids are ranks of the characters.
            characters = sorted(set(text.read_text()))
            ids = [characters.index(character) for character in text.read_text()]
            start = len(ids) - round(len(ids) * 0.1)
            feed = numpy.array([ids[start + key * 12 : start + key * 12 + 12] for key in keys])
        else:
            feed = digits_images()[keys]
        found = run(folder / f"{name}.onnx", feed)[0].reshape(len(keys), -1)
        worst = difference(found, outputs)
        print(f"{name}: {len(keys)} samples, differs by {worst:.1e}", file=sys.stderr)
        if worst > MODEL_TOLERANCE:
            sys.exit(f"{name}: differs by {worst}")
    return sorted(runs)


def digits_images():
    import gzip

    with gzip.open(ROOT / "plugins/data/digits/images-idx3-ubyte.gz") as file:
        raw = file.read()
    return numpy.frombuffer(raw[16:], dtype=numpy.uint8).reshape(-1, 8, 8) / 16.0


def versions():
    return {name: module.__version__ for name, module in
            (("numpy", numpy), ("onnx", onnx), ("onnxruntime", onnxruntime))}


def main():
    if sys.argv[1:2] == ["--random"]:
        random(pathlib.Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        recorded = operations(folder)
        trained = models(folder)
    json.dump({"versions": versions(), "trained": trained, "models": recorded}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
