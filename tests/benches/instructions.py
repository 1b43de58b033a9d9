#!/usr/bin/env python3
"""Counts the instructions of one training step of W1, W2 and W3 with callgrind: a number that does not depend on the load of the machine.

    python3 tests/benches/instructions.py            # compares with instructions.json, fails above 3 % more
    python3 tests/benches/instructions.py --record   # writes instructions.json

Needs valgrind. One thread, the engine in a fixed loop. Valgrind emulates AVX2.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
STEPS = {"w1": 20, "w2": 1, "w3": 2}
ALLOWED = 1.03


def collected(name, steps):
    loop = TARGET / "release" / "examples" / "engine_loop"
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", loop, name, str(steps), "1"]
    errors = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return int(re.search(r"Collected : (\d+)", errors)[1])


def main():
    if not (TARGET / "release" / "examples" / "engine_loop").exists():
        subprocess.run(["cargo", "build", "--release", "-p", "fluxbay-tests", "--examples"], check=True, cwd=ROOT)
    record = HERE / "instructions.json"
    # The difference of two runs leaves out what comes before the first step.
    found = {name: (collected(name, 2 * steps) - collected(name, steps)) // steps for name, steps in STEPS.items()}
    if "--record" in sys.argv:
        record.write_text(json.dumps(found, indent=1) + "\n")
    known = json.loads(record.read_text())
    worse = False
    for name, count in found.items():
        ratio = count / known[name]
        worse |= ratio > ALLOWED
        print(f"{name}: {count / 1e6:.2f} million instructions a step, {ratio:.3f} of what is recorded")
    sys.exit(1 if worse else 0)


main()
