"""The workloads in PyTorch: `torch_peer.py WORKLOAD VARIANT STEPS`, VARIANT `lightning` (W7 always is), `eager`, or some of `fused` (optimizer),
`channels-last`, `compiled` and `bf16` (autocast) with `+` between them.

Prints one JSON object: the median seconds of a step, and the steps counted. Batches are ready in memory; the product reads, shuffles and converts them.
"""

import json
import os
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


def realistic(steps):
    """W7 in Lightning: the equivalents of the callbacks of `runs/w7.toml`."""
    import logging
    import tempfile
    import warnings

    import lightning as L
    import torchmetrics
    from lightning.pytorch import callbacks, loggers

    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    batches = [(torch.rand(64, 1, 28, 28), torch.randint(10, (64,))) for _ in range(BATCHES)]
    starts = []

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = model
            shared = {"task": "multiclass", "num_classes": 10}
            macro = {**shared, "average": "macro"}
            metrics = [
                torchmetrics.Accuracy(**shared), torchmetrics.Precision(**macro), torchmetrics.Recall(**macro), torchmetrics.F1Score(**macro),
            ]  # fmt: skip
            self.training_metrics = torchmetrics.MetricCollection(metrics, prefix="training/")
            self.validation_metrics = torchmetrics.MetricCollection(metrics, prefix="validation/").clone()

        def step(self, batch, metrics, phase):
            x, y = batch
            out = self.model(x)
            loss = F.cross_entropy(out, y)
            metrics.update(out, y)
            self.log(f"{phase}/loss", loss, on_step=phase == "training", on_epoch=True, prog_bar=True)
            self.log_dict(metrics, on_step=False, on_epoch=True)
            return loss

        def training_step(self, batch, _):
            starts.append(time.perf_counter())
            return self.step(batch, self.training_metrics, "training")

        def validation_step(self, batch, _):
            self.step(batch, self.validation_metrics, "validation")

        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    class Histograms(L.Callback):
        def on_before_optimizer_step(self, trainer, module, _):
            if trainer.global_step % 100 == 0:
                writer = trainer.loggers[0].experiment
                for path, parameter in module.named_parameters():
                    writer.add_histogram(f"weights/{path}", parameter, trainer.global_step)
                    writer.add_histogram(f"gradients/{path}", parameter.grad, trainer.global_step)

    class Ready(torch.utils.data.Dataset):
        def __init__(self, count):
            self.count = count

        def __len__(self):
            return self.count

        def __getitem__(self, index):
            return batches[index % BATCHES]

    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            max_epochs=1, accelerator="cpu", gradient_clip_val=1.0, log_every_n_steps=1, enable_model_summary=False,
            num_sanity_val_steps=0, default_root_dir=folder,
            logger=[loggers.TensorBoardLogger(folder), loggers.CSVLogger(folder)],
            callbacks=[
                callbacks.EMAWeightAveraging(decay=0.999), callbacks.EarlyStopping("validation/loss", patience=3),
                callbacks.ModelCheckpoint(monitor="validation/MulticlassAccuracy", mode="max", save_top_k=1, save_last=True),
                callbacks.LearningRateMonitor("step"), callbacks.TQDMProgressBar(), Histograms(),
            ],
        )  # fmt: skip
        loader = lambda count: torch.utils.data.DataLoader(Ready(count), batch_size=None)
        trainer.fit(Module(), loader(steps), loader(20))
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
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    if sys.argv[1] == "sgemm":
        print(json.dumps({"flops": sgemm()}))
        return
    name, variant, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if name == "w7":
        times = realistic(steps)
    else:
        times = lightning(name, steps) if variant == "lightning" else plain(name, variant.split("+"), steps)
    # The first steps compile and warm up.
    print(json.dumps({"seconds": statistics.median(times[max(len(times) // 10, 1) :]), "steps": steps}))


if __name__ == "__main__":
    main()
