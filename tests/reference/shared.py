"""What the scripts that train in PyTorch share: the product's files, the digits as batches."""

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent


def tensors(path):
    """A safetensors file."""
    raw = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    body = raw[8 + length :]
    return {
        name: torch.tensor(np.frombuffer(body[slice(*entry["data_offsets"])], dtype=np.float32).reshape(entry["shape"]).copy())
        for name, entry in json.loads(raw[8 : 8 + length]).items()
        if name != "__metadata__"
    }


def digits(size):
    folder = HERE.parent.parent / "plugins/data/digits"
    images = gzip.open(folder / "images-idx3-ubyte.gz").read()
    labels = gzip.open(folder / "labels-idx1-ubyte.gz").read()
    x = torch.tensor(np.frombuffer(images, np.uint8, offset=16).reshape(-1, 8, 8).astype(np.float64))
    x = ((x - x.mean()) / x.std(correction=0)).float()
    y = torch.tensor(np.frombuffer(labels, np.uint8, offset=8).astype(np.int64))
    return [(x[at : at + size], y[at : at + size]) for at in range(0, len(x) - size + 1, size)]
