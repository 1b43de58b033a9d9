#!/usr/bin/env python3
"""Trains W5 and W6 on one and on two processes, beside PyTorch with gloo.

    python3 tests/benches/ranks.py --product target/release --python target/bench/python/bin/python

Needs a release build, PyTorch and `mpirun`. Runs take turns; what is printed are medians over rounds: milliseconds of a step, steps a
second against one process with two threads, and the share of the time that a rank spends in the communicator. PyTorch trains with
DistributedDataParallel over gloo, started by `torchrun`, on half a batch in each process.
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
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Batches of a run of the product; steps of PyTorch.
STEPS = {"w5": 6, "w6": 4}
# By name: processes, threads of each, gradient blocks.
PRODUCT = {
    "1 x 2": (1, 2, 0), "1 x 2, 4 blocks": (1, 2, 4), "2 x 1": (2, 1, 0), "2 x 1, 4 blocks": (2, 1, 4),
}  # fmt: skip
PEERS = [*PRODUCT, "torch 1 x 2", "torch gloo 2 x 1"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--product", type=Path, default=ROOT / "target" / "release", help="folder with fluxbay and its plugins")
    parser.add_argument("--python", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="steps of a run")
    parser.add_argument("--only", default=",".join(STEPS), help="workloads, separated by commas")
    parser.add_argument("--peers", default=";".join(PEERS), help="who takes part, separated by semicolons")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(torch_worker(options.worker)))
        return
    options.product = options.product.resolve()
    if options.steps:
        STEPS.update(dict.fromkeys(STEPS, options.steps))
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        data(folder)
        found = {}
        for number in range(options.rounds):
            for name in options.only.split(","):
                peers = options.peers.split(";")
                for peer in peers[number % len(peers) :] + peers[: number % len(peers)]:
                    seconds, waits = one(folder, name, peer, options)
                    found.setdefault((name, peer), []).append((seconds, waits))
                    print(f"round {number + 1}: {name}, {peer}: {seconds * 1e3:.0f} ms", file=sys.stderr)
    print("| workload | processes x threads | ms per step | steps/s against 1 x 2 | in the communicator |\n|---|---|---|---|---|")
    for name in options.only.split(","):
        base = [seconds for seconds, _ in found.get((name, "1 x 2"), [])]
        for peer in options.peers.split(";"):
            runs = found[(name, peer)]
            ratio = statistics.median(one / run[0] for one, run in zip(base, runs)) if base else float("nan")
            waits = statistics.median(share for _, share in runs)
            middle = statistics.median(seconds for seconds, _ in runs)
            print(f"| {name.upper()} | {peer} | {middle * 1e3:.0f} | {ratio:.2f} | {f'{waits:.0%}' if waits else ''} |")


def data(folder):
    """Random images in IDX files, and random text; the run files of the workloads beside them."""
    numbers = random.Random(1)
    images = 64 * 20
    (folder / "labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, images) + bytes(numbers.randrange(10) for _ in range(images)))
    (folder / "images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, images, 28, 28) + numbers.randbytes(images * 784))
    letters = "".join(chr(40 + at) for at in range(65))
    (folder / "text.txt").write_text(letters + "".join(numbers.choices(letters, k=256 * 16 * 16 + 1)))
    for name in STEPS:
        shutil.copy(HERE / "runs" / f"{name}.toml", folder)


def one(folder, name, peer, options):
    """Seconds of a step, and the share of them that a rank spends in the communicator."""
    if peer.startswith("torch"):
        return torch(folder, name, peer, options), 0.0
    processes, threads, blocks = PRODUCT[peer]
    record = folder / "run"
    shutil.rmtree(record, ignore_errors=True)
    settings = {
        "run.threads": threads, "run.gradient-blocks": blocks, "loader.limit-batches": STEPS[name],
        "communicator.component": '"mpi"', "checkpoints.at-end": "false", "checkpoints.every-epochs": 0,
    }  # fmt: skip
    command = [options.product / "fluxbay", "--quiet", "train", f"{name}.toml", "--run-dir", record, "--plugin-dir", options.product]
    command += [f"--set={key}={value}" for key, value in settings.items()]
    if processes > 1:
        command = ["mpirun", "--bind-to", "none", "-np", processes, *command]
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"} if os.geteuid() == 0 else {}
    run(command, folder, {**root, "XDG_CACHE_HOME": str(folder / "cache")})
    lines = map(json.loads, (record / "metrics.jsonl").read_text().splitlines())
    ends = [line["time"] for line in lines if line["scope"] == "step" and line["name"] == "loss"]
    times = [after - before for before, after in zip(ends, ends[1:])]
    states = [json.loads(file.read_text()) for file in (record / "ranks").glob("*.json")]
    waits = max((state["communicating"] for state in states), default=0.0) / (sum(times) * len(ends) / len(times))
    return statistics.median(times), waits


def torch(folder, name, peer, options):
    processes = 2 if "gloo" in peer else 1
    threads = {variable: str(2 // processes) for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    script = [Path(__file__).resolve(), "--worker", name]
    command = [options.python, *script]
    if processes > 1:
        command = [options.python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes, *script]
    return json.loads(run(command, folder, threads).strip().splitlines()[-1])


def run(command, folder, more):
    done = subprocess.run(list(map(str, command)), cwd=folder, env={**os.environ, **more}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} failed with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout


def torch_worker(name):
    """Median seconds of a step of this process."""
    import time

    import torch as t
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    from torch_peer import BATCHES, loss_of, workload

    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    t.set_num_threads(2 // ranks)
    model, batches, (optimizer, settings) = workload(name)
    if ranks > 1:
        dist.init_process_group("gloo")
        size = batches[0][0].shape[0] // ranks
        rows = slice(dist.get_rank() * size, (dist.get_rank() + 1) * size)
        batches = [(x[rows], y[rows]) for x, y in batches]
        model = DistributedDataParallel(model)
    optimizer = optimizer(model.parameters(), **settings)
    times = []
    for step in range(STEPS[name]):
        begin = time.perf_counter()
        x, y = batches[step % BATCHES]
        optimizer.zero_grad(set_to_none=True)
        loss_of(model, x, y).backward()
        optimizer.step()
        times.append(time.perf_counter() - begin)
    if ranks > 1:
        dist.destroy_process_group()
    return statistics.median(times[1:])


main()
