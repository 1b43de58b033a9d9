"""Writes the files of arrays that the tests of plugins/data read, as NumPy and safetensors write them.

Run from the top of the repository, in an environment with tests/reference/requirements.txt:

    python tests/reference/arrays.py
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

FOLDER = Path("plugins/data/tests/arrays")


def main():
    numbers = np.random.default_rng(3)
    x = numbers.normal(2.0, 3.0, (12, 2, 3))
    y = np.arange(12) % 3
    np.savez(FOLDER / "stored.npz", x=x, y=y)
    np.savez_compressed(FOLDER / "packed.npz", x_train=x[:8], y_train=y[:8], x_test=x[8:], y_test=y[8:])
    np.save(FOLDER / "x.npy", x.astype(">f4"))
    np.save(FOLDER / "y.npy", y.astype(np.uint8))
    save_file(
        {
            "x": x,
            "y": y,
            "half": x.astype(np.float16),
            "bytes": (np.arange(12 * 4) * 5 % 256).astype(np.uint8).reshape(12, 4),
            "ids": (np.arange(12 * 4) % 7).astype(np.int32).reshape(12, 4),
            "values": y.astype(np.float32) / 2,
            "negative": -y,
        },
        FOLDER / "tensors.safetensors",
    )
    np.save(FOLDER / "fortran.npy", np.asfortranarray(x[:, :, 0]))
    np.save(FOLDER / "objects.npy", np.array([{"a": 1}], dtype=object))


if __name__ == "__main__":
    main()
