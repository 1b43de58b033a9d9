#!/usr/bin/env python3
"""Predictions and the server of models, measured with release builds.

    python3 tests/benches/using.py memory --product DIR      # peak memory of predicting from 1 GB of CSV
    python3 tests/benches/using.py kills --product DIR       # 100 predictions, killed at random moments
    python3 tests/benches/using.py serve --product DIR --python PYTHON

DIR holds `fluxbay`, `fluxbay-serve` and the plugins. `serve` needs `wrk`, and a PYTHON with torch, onnxruntime, fastapi, uvicorn,
httptools, uvloop and orjson for the servers beside it.
"""

import argparse
import json
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

INPUTS, CLASSES = 16, 10
RUN = """[run]
epochs = 1
[data]
component = "csv"
path = "train.csv"
target = "class"
[loader]
batch-size = 256
validation = 0.1
[model]
component = "mlp"
hidden = [128]
[loss]
component = "cross-entropy"
[optimizer]
component = "adamw"
"""


def row(draws):
    return ",".join(f"{draws.gauss(0, 1):.4f}" for _ in range(INPUTS))


class Product:
    def __init__(self, folder, place):
        self.folder, self.place = pathlib.Path(folder), pathlib.Path(place).resolve()
        self.environment = {**os.environ, "FLUXBAY_PLUGIN_PATH": str(self.place), "HOME": str(folder)}

    def start(self, *arguments, **more):
        command = [str(self.place / "fluxbay"), *map(str, arguments)]
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **more)

    def run(self, *arguments):
        if self.start(*arguments).wait():
            sys.exit(f"{arguments} failed")

    def trained(self):
        draws = random.Random(1)
        names = ",".join(f"x{number}" for number in range(INPUTS))
        rows = "".join(f"{row(draws)},c{number % CLASSES}\n" for number in range(2000))
        (self.folder / "train.csv").write_text(f"{names},class\n{rows}")
        (self.folder / "run.toml").write_text(RUN)
        self.run("train", "run.toml", "--run-dir", "run", "-q")
        return names


def write_rows(path, names, least):
    """A table of at least so many bytes; returns its number of rows."""
    draws = random.Random(2)
    block = "".join(row(draws) + "\n" for _ in range(10_000))
    rows = 0
    with open(path, "w") as file:
        file.write(names + "\n")
        while file.tell() < least:
            file.write(block)
            rows += 10_000
    return rows


def peak_of(process, name):
    """The largest resident memory of a process and its children while it runs, in MB."""
    peaks = {}
    while process.poll() is None:
        for pid in [process.pid, *children(process.pid)]:
            try:
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            found = re.search(r"VmHWM:\s+(\d+)", status)
            if found:
                peaks[pid] = int(found[1]) / 1024
        time.sleep(0.02)
    if process.returncode:
        sys.exit(f"{name} failed")
    return sum(peaks.values())


def children(pid):
    try:
        tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def memory(product, arguments):
    names = product.trained()
    rows = write_rows(product.folder / "big.csv", names, arguments.bytes)
    size = (product.folder / "big.csv").stat().st_size
    for output in arguments.outputs:
        begin = time.monotonic()
        process = product.start("predict", "run", "big.csv", "-o", output, "-q")
        peak = peak_of(process, output)
        seconds = time.monotonic() - begin
        print(f"{size / 1e9:.2f} GB, {rows} rows to {output}: peak {peak:.0f} MB (command and worker), {seconds:.1f} s, {rows / seconds:,.0f} rows/s")
        (product.folder / output).unlink()


def kills(product, arguments):
    names = product.trained()
    rows = write_rows(product.folder / "big.csv", names, arguments.bytes)
    for output in arguments.outputs:
        path, command = product.folder / output, ("predict", "run", "big.csv", "-o", output, "-q")
        begin = time.monotonic()
        product.run(*command)
        seconds = time.monotonic() - begin
        whole = path.read_bytes()
        path.unlink()
        draws, killed, left = random.Random(3), 0, 0
        for _ in range(arguments.times):
            process = product.start(*command, start_new_session=True, stderr=subprocess.DEVNULL)
            time.sleep(draws.uniform(0, seconds))
            killed += process.poll() is None
            # The command and its worker at once, as the system does when memory is short.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
            if path.exists():
                left += 1
                if path.read_bytes() != whole:
                    sys.exit(f"{output}: a part of a file was left")
                path.unlink()
        product.run(*command)
        if path.read_bytes() != whole:
            sys.exit(f"{output}: another file after the kills")
        print(f"{rows} rows to {output}: {killed} of {arguments.times} killed while they ran, {left} had ended with the whole file; the same bytes again")


PEER = """
import sys, orjson, numpy
from fastapi import FastAPI, Request, Response
kind, path, threads = sys.argv[1], sys.argv[2], int(sys.argv[4])
if kind == "torch":
    import torch
    torch.set_num_threads(threads)
    model = torch.nn.Sequential(torch.nn.Linear(INPUTS, 128), torch.nn.ReLU(), torch.nn.Linear(128, CLASSES)).eval()
    def probabilities(inputs):
        with torch.inference_mode():
            return model(torch.tensor(inputs)).softmax(-1).numpy()
else:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options)
    def probabilities(inputs):
        logits = session.run(None, {"xs": numpy.array(inputs, dtype=numpy.float32)})[0]
        powers = numpy.exp(logits - logits.max(-1, keepdims=True))
        return powers / powers.sum(-1, keepdims=True)
app = FastAPI()
@app.post("/predict")
async def predict(request: Request):
    found = probabilities(orjson.loads(await request.body())["inputs"])
    best = found.argmax(-1)
    rows = [{"key": str(number), "class": f"c{one}", "probability": float(found[number, one])} for number, one in enumerate(best)]
    return Response(orjson.dumps({"predictions": rows}), media_type="application/json")
import uvicorn
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[3]), log_level="error", loop="uvloop", http="httptools")
"""


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(address, process):
    for _ in range(600):
        if process.poll() is not None:
            sys.exit("the server ended")
        try:
            socket.create_connection(("127.0.0.1", address), 0.2).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("the server does not listen")


def load(folder, address, rows, connections, seconds):
    """Requests a second and the median time of a request in ms."""
    draws = random.Random(4)
    inputs = [[round(draws.gauss(0, 1), 4) for _ in range(INPUTS)] for _ in range(rows)]
    script = folder / "post.lua"
    body = json.dumps({"inputs": inputs})
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{body}'\nwrk.headers['Content-Type'] = 'application/json'\n"
        "done = function(summary, latency) io.write('p50us ' .. latency:percentile(50) .. ' p99us ' .. latency:percentile(99) "
        ".. ' requests ' .. summary.requests .. ' us ' .. summary.duration .. ' bad ' .. summary.errors.status .. '\\n') end\n"
    )
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{address}/predict"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"p50us ([\d.]+) p99us ([\d.]+) requests (\d+) us (\d+) bad (\d+)", said)
    if not found or found[5] != "0":
        sys.exit(said)
    return int(found[3]) / int(found[4]) * 1e6, float(found[1]) / 1000, float(found[2]) / 1000


def serve(product, arguments):
    product.trained()
    product.run("export", "run", "--onnx", "model.onnx", "-q")
    peer = product.folder / "peer.py"
    peer.write_text(PEER.replace("INPUTS", str(INPUTS)).replace("CLASSES", str(CLASSES)))
    threads = str(arguments.threads)
    servers = {
        "fluxbay serve": lambda at: product.start("-q", "serve", "run/bundle", "--address", f"127.0.0.1:{at}", "--threads", threads),
    }
    for kind in ("torch", "onnxruntime"):
        if arguments.python:
            command = [arguments.python, str(peer), kind, str(product.folder / "model.onnx")]
            servers[f"FastAPI, {kind}"] = lambda at, command=command: subprocess.Popen([*command, str(at), threads])
    cases = [(1, 1), (1, 32), (100, 8)]
    for turn in range(arguments.turns):
        for name, start in servers.items():
            at = port()
            process = start(at)
            try:
                wait_for(at, process)
                load(product.folder, at, 1, 4, 1)
                for rows, connections in cases:
                    rate, p50, p99 = load(product.folder, at, rows, connections, arguments.seconds)
                    print(f"{name}, {connections} connections, {rows} rows a request: p50 {p50:.2f} ms, p99 {p99:.2f} ms, {rate * rows:,.0f} rows/s", flush=True)
            finally:
                process.terminate()
                process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, function in [("memory", memory), ("kills", kills), ("serve", serve)]:
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        command.add_argument("--product", required=True)
        command.add_argument("--bytes", type=float, default=1e9 if name == "memory" else 2e7)
        command.add_argument("--times", type=int, default=100)
        command.add_argument("--outputs", nargs="*", default=["out.csv", "out.parquet"])
        command.add_argument("--python")
        command.add_argument("--seconds", type=int, default=5)
        command.add_argument("--threads", type=int, default=1)
        command.add_argument("--turns", type=int, default=1)
        command.add_argument("--folder", help="where files are written")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        arguments.function(Product(folder, arguments.product), arguments)


if __name__ == "__main__":
    main()
