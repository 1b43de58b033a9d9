"""Writes the numbers that the tests of plugins/data compare with, as scikit-learn's StandardScaler gives them.

Run from the top of the repository, in an environment with tests/reference/requirements.txt:

    python tests/reference/standard_scaler.py > plugins/data/tests/standard-scaler.json
"""

import json

import numpy as np
import sklearn
from sklearn.preprocessing import StandardScaler


def main():
    numbers = np.random.default_rng(1)
    cases = {
        "ordinary": numbers.normal(3.0, 2.0, 50),
        "constant 0.1": np.full(100, 0.1),
        "constant -0.3": np.full(7, -0.3),
        "constant up to a rounding error": np.array([0.1, 0.1 + 2**-56, 0.1] * 20),
        "large offset": 1e9 + numbers.normal(0.0, 1.0, 50),
        "large offset, small deviation": 1e6 + numbers.normal(0.0, 1e-4, 50),
        "tiny": numbers.normal(0.0, 1e-12, 50),
        "huge": numbers.normal(0.0, 1e30, 50),
        "two values": np.array([1.0, 2.0]),
    }
    record = {"scikit-learn": sklearn.__version__, "numpy": np.__version__, "cases": {}}
    for name, values in cases.items():
        scaler = StandardScaler()
        scaled = scaler.fit_transform(values.reshape(-1, 1)).ravel()
        record["cases"][name] = {"values": values.tolist(), "scaled": scaled.tolist(), "scale": float(scaler.scale_[0])}
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
