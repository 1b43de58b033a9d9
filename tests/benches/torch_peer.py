"""The workloads in PyTorch: `torch_peer.py WORKLOAD VARIANT STEPS`, VARIANT `lightning`, `eager`, or some of `fused` (optimizer),
`channels-last`, `compiled` and `bf16` (autocast) with `+` between them.

Prints one JSON object: the median seconds of a step, and the steps counted. Batches are ready in memory; the product reads, shuffles and converts them.
"""

import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

BATCHES = 16


class Gpt(nn.Module):
    """As the plugin `gpt`: normalisation before each block, learned positions, output without bias."""

    def __init__(self, vocabulary=65, layers=4, width=128, heads=4, context=128):
        super().__init__()
        self.heads = heads
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.randn(context, width) * 0.02)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm1": nn.LayerNorm(width),
                    "qkv": nn.Linear(width, 3 * width),
                    "mix": nn.Linear(width, width),
                    "norm2": nn.LayerNorm(width),
                    "up": nn.Linear(width, 4 * width),
                    "down": nn.Linear(4 * width, width),
                }
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, vocabulary, bias=False)

    def forward(self, x):
        batch, time_, width = *x.shape, self.positions.shape[1]
        h = self.tokens(x) + self.positions
        for block in self.blocks:
            q, k, v = block["qkv"](block["norm1"](h)).split(width, dim=2)
            q, k, v = (t.view(batch, time_, self.heads, -1).transpose(1, 2) for t in (q, k, v))
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            h = h + block["mix"](a.transpose(1, 2).reshape(batch, time_, width))
            h = h + block["down"](F.gelu(block["up"](block["norm2"](h)), approximate="tanh"))
        return self.output(self.norm(h))


class Block(nn.Module):
    """Two convolutions of a residual network, with a shortcut."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h + (x if self.downsample is None else self.downsample(x)))


def resnet18():
    """As the plugin `resnet` with `small-images`."""
    stages, inputs = [], 64
    for outputs, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        stages += [Block(inputs, outputs, stride), Block(outputs, outputs, 1)]
        inputs = outputs
    stem = [nn.Conv2d(1, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    return nn.Sequential(*stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def workload(name):
    """The model, its batches, and the optimizer's class with its settings."""
    if name in ("w4", "w6"):
        sizes = {} if name == "w4" else {"layers": 6, "width": 384, "heads": 6, "context": 256}
        shape = (16, sizes.get("context", 128))
        batches = [(torch.randint(65, shape), torch.randint(65, shape)) for _ in range(BATCHES)]
        return Gpt(**sizes), batches, (torch.optim.AdamW, {"lr": 1e-3})
    size = 256 if name == "w2" else 64
    shape = (size, 1, 28, 28) if name in ("w3", "w5") else (size, 784)
    batches = [(torch.rand(shape), torch.randint(10, (size,))) for _ in range(BATCHES)]
    if name == "w1":
        model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        return model, batches, (torch.optim.SGD, {"lr": 0.01})
    if name == "w5":
        return resnet18(), batches, (torch.optim.SGD, {"lr": 0.01, "momentum": 0.9})
    if name == "w2":
        model = nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
    else:
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(800, 10),
        )  # fmt: skip
    return model, batches, (torch.optim.AdamW, {"lr": 1e-3})


def loss_of(model, x, y):
    return F.cross_entropy(model(x).flatten(0, -2), y.flatten())


def plain(name, modes, steps):
    model, batches, (optimizer, settings) = workload(name)
    if "fused" in modes:
        settings = {"fused": True, **settings}
    optimizer = optimizer(model.parameters(), **settings)
    if "channels-last" in modes:
        model = model.to(memory_format=torch.channels_last)
        batches = [(x.to(memory_format=torch.channels_last), y) for x, y in batches]
    run = torch.compile(model) if "compiled" in modes else model
    times = []
    for step in range(steps):
        begin = time.perf_counter()
        x, y = batches[step % BATCHES]
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled="bf16" in modes):
            loss = loss_of(run, x, y)
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - begin)
    return times


def lightning(name, steps):
    import logging
    import warnings

    import lightning as L

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    model, batches, (optimizer, settings) = workload(name)
    starts = []

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = model

        def training_step(self, batch, _):
            starts.append(time.perf_counter())
            return loss_of(self.model, *batch)

        def configure_optimizers(self):
            return optimizer(self.parameters(), **settings)

    class Empty(L.Callback):
        """Overrides every hook of a training step, and does nothing in them."""

        def on_train_batch_start(self, *_): pass
        def on_before_zero_grad(self, *_): pass
        def on_before_backward(self, *_): pass
        def on_after_backward(self, *_): pass
        def on_before_optimizer_step(self, *_): pass
        def on_train_batch_end(self, *_): pass

    class Ready(torch.utils.data.Dataset):
        def __len__(self):
            return steps

        def __getitem__(self, index):
            return batches[index % BATCHES]

    loader = torch.utils.data.DataLoader(Ready(), batch_size=None)
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[type(f"Empty{n}", (Empty,), {})() for n in range(10)], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(), loader)
    return [after - before for before, after in zip(starts, starts[1:])]


def sgemm():
    """The best rate of square products, in FLOP per second."""
    best = 0.0
    for size in (512, 1024, 2048):
        a, b = torch.rand(size, size), torch.rand(size, size)
        out = a @ b
        for _ in range(6):
            begin = time.perf_counter()
            torch.mm(a, b, out=out)
            best = max(best, 2 * size**3 / (time.perf_counter() - begin))
    return best


def main():
    torch.manual_seed(1)
    torch.set_num_threads(2)
    if sys.argv[1] == "sgemm":
        print(json.dumps({"flops": sgemm()}))
        return
    name, variant, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    times = lightning(name, steps) if variant == "lightning" else plain(name, variant.split("+"), steps)
    # The first steps compile and warm up.
    print(json.dumps({"seconds": statistics.median(times[max(len(times) // 10, 1) :]), "steps": steps}))


if __name__ == "__main__":
    main()
