#!/usr/bin/env python3
"""Trains the workloads W1 to W7 with fluxbay and its alternatives, and compares their speed.

    python3 tests/benches/compare.py                  # first run: installs the peers; then measures everything
    python3 tests/benches/compare.py --only w3 --peers fluxbay,torch --rounds 9

Runs take turns, one after the other, so that a machine that slows down slows all of them; what is printed are medians
over rounds, ratios taken round by round to PyTorch's eager mode and to the fastest of its modes in f32, the peak memory of
the process, and the share of the matrix product's best rate.
Results go to target/bench: results.json, table.md, plot.svg.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# Steps of a run; about a second or more of PyTorch's time each.
STEPS = {"w1": 5000, "w2": 60, "w3": 120, "w4": 16, "w5": 8, "w6": 6, "w7": 180}
# Arithmetic of one step in FLOP: twice the multiply-adds of forward pass and gradients.
FLOP = {"w1": 0.026e9, "w2": 2.45e9, "w3": 0.242e9, "w4": 11.4e9, "w5": 175e9, "w6": 291e9, "w7": 0.73e9}
TITLES = {
    "w1": "W1 MLP, SGD", "w2": "W2 wide MLP, AdamW", "w3": "W3 CNN, AdamW", "w4": "W4 GPT, AdamW", "w5": "W5 ResNet-18, SGD",
    "w6": "W6 GPT of 10 million, AdamW", "w7": "W7 CNN with ten callbacks",
}  # fmt: skip
# PyTorch's modes by the names of `torch_peer.py`.
TORCH = {
    "torch": "eager", "torch-fused": "fused", "torch-channels-last": "channels-last+fused", "torch-compiled": "compiled+fused",
    "torch-compiled-channels-last": "compiled+channels-last+fused", "torch-bf16": "bf16+fused",
    "torch-bf16-compiled": "bf16+compiled+fused", "torch-bf16-channels-last": "bf16+channels-last+fused",
}  # fmt: skip
PEERS = ["fluxbay", "fluxbay-bf16", "fluxbay-ten-callbacks", "engine-loop", *TORCH, "lightning", "lightning-ten-callbacks", "candle", "burn"]
# What a peer cannot run or makes no difference.
WITHOUT = {
    "candle": ("w5", "w6", "w7"), "burn": ("w5", "w6", "w7"), "lightning-ten-callbacks": ("w5", "w6", "w7"),
    "engine-loop": ("w7",), "fluxbay-ten-callbacks": ("w7",), "lightning": ("w1", "w2", "w3", "w4", "w5", "w6"),
    **{mode: ("w7", "w1", "w2", "w4", "w6") if "channels-last" in mode else ("w7",) for mode in TORCH},
}  # fmt: skip


def main():
    options = arguments()
    folder = Path(options.folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    python = install(folder, options)
    data(folder)
    results = measure(folder, python, options)
    report = table(results)
    (folder / "results.json").write_text(json.dumps(results, indent=1))
    (folder / "table.md").write_text(report)
    print(report)
    if python:
        subprocess.run([python, HERE / "plot.py", folder / "results.json", folder / "plot.svg"], check=True)
        print(f"plot: {folder / 'plot.svg'}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="runs of each peer and workload")
    parser.add_argument("--only", default=",".join(STEPS), help="workloads, separated by commas")
    parser.add_argument("--threads", type=int, default=2, help="threads of every peer")
    parser.add_argument("--peers", default=",".join(PEERS), help="who takes part")
    parser.add_argument("--folder", default=TARGET / "bench", help="for peers, data and results")
    parser.add_argument("--no-install", action="store_true", help="everything is installed and built already")
    options = parser.parse_args()
    options.only, options.peers = options.only.split(","), options.peers.split(",")
    unknown = [name for name in options.only if name not in STEPS] + [name for name in options.peers if name not in PEERS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; workloads are {', '.join(STEPS)}, peers {', '.join(PEERS)}")
    return options


def install(folder, options):
    """Builds the product, and installs the pinned peers that take part; returns their Python, if any of them needs it."""
    wants = lambda *names: any(peer.startswith(name) for peer in options.peers for name in names)
    python = folder / "python" / "bin" / "python"
    if not options.no_install:
        cargo("build", "--release", "--workspace", cwd=ROOT)
        cargo("build", "--release", "-p", "fluxbay-tests", "--examples", cwd=ROOT)
        if wants("burn"):
            cargo("build", "--release", "--locked", "--target-dir", folder / "burn", cwd=HERE / "burn")
        if wants("torch", "lightning"):
            if not python.exists():
                venv.create(folder / "python", with_pip=True)
            run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", HERE / "requirements.txt"])
    if wants("fluxbay-ten-callbacks"):
        plugins = folder / "plugins"
        plugins.mkdir(exist_ok=True)
        shutil.copy(example("libidle_callback.so"), plugins)
    return python if python.exists() else None


def cargo(*words, cwd=HERE):
    run(["cargo", *words], cwd=cwd)


def run(command, **more):
    print("+", " ".join(map(str, command)), file=sys.stderr)
    subprocess.run(command, check=True, **more)


def data(folder):
    """Random images in IDX files and random text, the same each time."""
    numbers = random.Random(1)
    images = 64 * 200
    if not (folder / "images-idx3-ubyte").exists():
        (folder / "labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, images) + bytes(numbers.randrange(10) for _ in range(images)))
        (folder / "images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, images, 28, 28) + numbers.randbytes(images * 784))
    if not (folder / "text.txt").exists():
        letters = "".join(chr(40 + at) for at in range(65))
        (folder / "text.txt").write_text(letters + "".join(numbers.choices(letters, k=256 * 16 * 16 + 1)))
    for file in (HERE / "runs").glob("*.toml"):
        shutil.copy(file, folder)


def measure(folder, python, options):
    results = {"threads": options.threads, "rounds": [], "sgemm": []}
    peers = [(name, peer) for name in options.only for peer in options.peers if name not in WITHOUT.get(peer, ())]
    for number in range(options.rounds):
        rates = [sgemm(command, options.threads) for command in sgemm_commands(python, options)]
        results["sgemm"].append(max(rates))
        shift = number % len(peers)
        for name, peer in peers[shift:] + peers[:shift]:
            outcome = one(folder, python, name, peer, options)
            results["rounds"].append({"round": number, "workload": name, "peer": peer, **outcome})
            print(f"round {number + 1}: {name} {peer}: {outcome['seconds'] * 1e3:.3f} ms, {outcome['peak'] / 1e6:.0f} MB", file=sys.stderr)
    return results


def sgemm_commands(python, options):
    commands = [[example("engine_loop"), "sgemm", str(options.threads)]] if "engine-loop" in options.peers else []
    return commands + ([[python, HERE / "torch_peer.py", "sgemm"]] if python else [])


def sgemm(command, threads):
    return json.loads(subprocess.run(command, check=True, capture_output=True, env=environment(threads)).stdout)["flops"]


def example(name):
    return TARGET / "release" / "examples" / name


def environment(threads):
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    return {**os.environ, **{name: str(threads) for name in names}}


def one(folder, python, name, peer, options):
    """Runs one peer once: the median seconds of its steps, and the peak memory of its process in bytes."""
    steps = str(STEPS[name])
    if peer.startswith("fluxbay"):
        return product(folder, name, peer, options.threads)
    commands = {
        "engine-loop": [example("engine_loop"), name, steps, str(options.threads)],
        "burn": [folder / "burn" / "release" / "burn_loop", name, str(max(int(steps) // 5, 10))],
        "candle": [example("candle_loop"), name, str(max(int(steps) // 5, 10))],
        **{peer: [python, HERE / "torch_peer.py", name, modes, steps] for peer, modes in TORCH.items()},
        "lightning-ten-callbacks": [python, HERE / "torch_peer.py", name, "lightning", steps],
        "lightning": [python, HERE / "torch_peer.py", name, "lightning", steps],
    }
    output, peak = watched(commands[peer], folder, options.threads)
    return {"seconds": json.loads(output.strip().splitlines()[-1])["seconds"], "peak": peak}


def product(folder, name, peer, threads):
    """The installed product: the run file through the binary, and what its own record says about the time of its steps."""
    record = folder / "run"
    shutil.rmtree(record, ignore_errors=True)
    command = [TARGET / "release" / "fluxbay", "train", f"{name}.toml", "--run-dir", record]
    command += ["--set", f"run.threads={threads}"]
    if peer == "fluxbay-bf16":
        command += ["--set", 'run.precision="bf16"']
    if peer == "fluxbay-ten-callbacks":
        command += ["--plugin-dir", folder / "plugins"]
        command += [word for at in range(10) for word in ("--add", f'callback/idle{{id = "idle-{at}"}}')]
    _, peak = watched(command, folder, threads)
    lines = map(json.loads, (record / "metrics.jsonl").read_text().splitlines())
    ends = [line["time"] for line in lines if line["scope"] == "step" and line["name"] == "loss"]
    times = [after - before for before, after in zip(ends, ends[1:])]
    return {"seconds": statistics.median(times[len(times) // 10 :]), "peak": peak}


def watched(command, folder, threads):
    """What a process prints, and its peak memory."""
    with open(folder / "stderr.txt", "wb") as errors:
        process = subprocess.Popen(list(map(str, command)), cwd=folder, stdout=subprocess.PIPE, stderr=errors, env=environment(threads))
        output = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} failed with {process.returncode}:\n{(folder / 'stderr.txt').read_text()[-3000:]}")
    return output, usage.ru_maxrss * 1024


def table(results):
    rounds = results["rounds"]
    peak = statistics.median(results["sgemm"])
    text = f"Best rate of matrix products, {results['threads']} threads: {peak / 1e9:.0f} GFLOP/s.\n\n"
    text += "| workload | peer | ms per step | steps/s against PyTorch eager (W7: Lightning) | against its fastest f32 mode | peak MB | share of the product's rate |\n"
    text += "|---|---|---|---|---|---|---|\n"
    for name in dict.fromkeys(entry["workload"] for entry in rounds):
        of = lambda peer, key: {entry["round"]: entry[key] for entry in rounds if (entry["workload"], entry["peer"]) == (name, peer)}
        base = of("torch", "seconds") or of("lightning", "seconds")
        modes = [of(mode, "seconds") for mode in TORCH if "bf16" not in mode]
        fastest = min(filter(None, modes), key=lambda seconds: statistics.median(seconds.values()), default={})
        for peer in dict.fromkeys(entry["peer"] for entry in rounds):
            seconds = of(peer, "seconds")
            if not seconds:
                continue
            middle = statistics.median(seconds.values())
            ratio, best = against(base, seconds), against(fastest, seconds)
            memory = statistics.median(of(peer, "peak").values()) / 1e6
            text += f"| {TITLES[name]} | {peer} | {middle * 1e3:.3f} | {ratio} | {best} | {memory:.0f} | {FLOP[name] / middle / peak:.0%} |\n"
    return text


def against(base, seconds):
    """The median of the ratios of each round, with their range."""
    ratios = [base[at] / seconds[at] for at in seconds if at in base]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""


main()
