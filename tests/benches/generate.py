"""Tokens a second of `fluxbay generate` beside PyTorch with a cache of keys and values, for a GPT of one size.

    cargo build --release --workspace
    python3 tests/benches/generate.py [--binary target/release/fluxbay] [--threads 2] [--rounds 5]

Needs PyTorch (requirements.txt). Both write the most probable token of a GPT of 4 layers, width 128, 4 heads and a context of 256
characters, one text at a time, 240 tokens after a prompt of 8; they take turns, and the best of the rounds counts. Weights
do not matter for the time: the run trains for a few steps, PyTorch's are random.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

LAYERS, WIDTH, HEADS, CONTEXT, PROMPT, TOKENS = 4, 128, 4, 256, 8, 240
RUN = f"""
[run]
epochs = 1
default-callbacks = false
[data]
component = "text"
path = "text.txt"
context = {CONTEXT}
[loader]
batch-size = 4
limit-batches = 2
[model]
component = "gpt"
layers = {LAYERS}
width = {WIDTH}
heads = {HEADS}
[loss]
component = "cross-entropy"
[optimizer]
component = "adamw"
"""
TEXT = "".join(chr(33 + at * 7 % 90) + (" " if at % 5 == 0 else "") for at in range(40_000))


class Gpt(nn.Module):
    """As the plugin `gpt`, with keys and values in buffers that are allocated once."""

    def __init__(self, vocabulary):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, WIDTH)
        self.positions = nn.Parameter(torch.randn(CONTEXT, WIDTH) * 0.02)
        block = lambda: nn.ModuleDict(dict(
            norm1=nn.LayerNorm(WIDTH), qkv=nn.Linear(WIDTH, 3 * WIDTH), mix=nn.Linear(WIDTH, WIDTH), norm2=nn.LayerNorm(WIDTH),
            up=nn.Linear(WIDTH, 4 * WIDTH), down=nn.Linear(4 * WIDTH, WIDTH)))
        self.blocks = nn.ModuleList(block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.output = nn.Linear(WIDTH, vocabulary, bias=False)
        self.kept = torch.zeros(LAYERS, 2, 1, HEADS, CONTEXT, WIDTH // HEADS)

    def forward(self, x, first):
        time_ = x.shape[1]
        h = self.tokens(x) + self.positions[first:first + time_]
        for layer, block in enumerate(self.blocks):
            q, k, v = block["qkv"](block["norm1"](h)).split(WIDTH, dim=2)
            q, k, v = (t.view(1, time_, HEADS, -1).transpose(1, 2) for t in (q, k, v))
            keys, values = self.kept[layer]
            keys[:, :, first:first + time_] = k
            values[:, :, first:first + time_] = v
            a = F.scaled_dot_product_attention(q, keys[:, :, :first + time_], values[:, :, :first + time_], is_causal=time_ > 1)
            h = h + block["mix"](a.transpose(1, 2).reshape(1, time_, WIDTH))
            h = h + block["down"](F.gelu(block["up"](block["norm2"](h)), approximate="tanh"))
        return self.output(self.norm(h[:, -1:]))


def of_torch(model, vocabulary):
    ids = torch.arange(PROMPT)[None] % vocabulary
    begin = time.perf_counter()
    with torch.inference_mode():
        at = 0
        for _ in range(TOKENS):
            logits = model(ids, at)
            at += ids.shape[1]
            ids = logits[:, -1].argmax(-1, keepdim=True)
    return TOKENS / (time.perf_counter() - begin)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default="target/release/fluxbay")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    binary = str(Path(arguments.binary).resolve())
    vocabulary = len(set(TEXT))
    model = Gpt(vocabulary).eval()
    best = {"fluxbay": 0.0, "fluxbay without a cache": 0.0, "torch": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "text.txt").write_text(TEXT)
        Path(folder, "run.toml").write_text(RUN)
        subprocess.run([binary, "train", "run.toml", "--run-dir", "run", "-q"], cwd=folder, check=True)
        command = [binary, "generate", "run", "--prompt", TEXT[:PROMPT], "--max-tokens", str(TOKENS), "--json",
                   "--threads", str(arguments.threads)]
        for _ in range(arguments.rounds):
            for name, more in [("fluxbay", []), ("fluxbay without a cache", ["--no-cache"])]:
                out = subprocess.run(command + more, cwd=folder, check=True, capture_output=True, text=True).stdout
                written = json.loads(out)
                best[name] = max(best[name], len(written["tokens"]) / written["seconds"])
            best["torch"] = max(best["torch"], of_torch(model, vocabulary))
    print(json.dumps({name: round(rate) for name, rate in best.items()} | {"ratio": round(best["fluxbay"] / best["torch"], 2)}))


main()
