#!/usr/bin/env python3
"""Makes large records of runs, to measure `fluxbay report`, `watch` and `runs show` with.

    tests/benches/records.py TEMPLATE OUT --runs 20 --points 100000
    tests/benches/records.py TEMPLATE OUT --runs 1 --bytes 5e9 --torn

TEMPLATE is the folder of a run that has ended; all files but those of its metrics and events are copied. Each run of OUT gets
steps in 100 epochs, with a loss that falls, an accuracy that rises, a learning rate and, after each epoch, a validation. With
`--points` these are so many values in all; with `--bytes` the block of lines is repeated with other epochs until the file has that
size. `--torn` ends the files within a line, as a run that was killed does.
"""

import argparse
import math
import random
import re
import shutil
from pathlib import Path

EPOCHS = 100
STEP = '{"time":%.6f,"phase":"training","scope":"step","epoch":%d,"step":%d,"name":"%s","value":%s}\n'
EPOCH = '{"time":%.6f,"phase":"%s","scope":"epoch","epoch":%d,"step":0,"name":"%s","value":%s}\n'
EVENT = '{"time":%.6f,"event":"%s","phase":"%s","epoch":%d,"step":0,"by":"%s","detail":""}\n'


def epoch_lines(epoch, steps, speed, draw, start):
    """Lines of one epoch for metrics.jsonl and events.jsonl."""
    metrics, events, time = [], [], start
    done = 0.0
    events.append(EVENT % (time, "epoch-begin", "training", epoch, "training"))
    for step in range(1, steps + 1):
        time += 0.01
        done = (epoch - 1) + step / steps
        loss = 2.3 * math.exp(-speed * done) + 0.05 * draw.random()
        metrics.append(STEP % (time, epoch, step, "loss", repr(loss)))
        metrics.append(STEP % (time, epoch, step, "accuracy", repr(1 - loss / 2.6)))
        metrics.append(STEP % (time, epoch, step, "hparams/learning-rate", repr(1e-3 * (1 - done / EPOCHS) ** 2)))
    events.append(EVENT % (time, "epoch-end", "training", epoch, "training"))
    for phase, more in (("training", 0.0), ("validation", 0.02)):
        loss = 2.3 * math.exp(-speed * done) + more + 0.01 * draw.random()
        metrics.append(EPOCH % (time, phase, epoch, "loss", repr(loss)))
        metrics.append(EPOCH % (time, phase, epoch, "accuracy", repr(1 - loss / 2.6)))
    return "".join(metrics), "".join(events), time


def write(template, folder, points, size, seed, torn):
    skipped = ("metrics.*", "events.jsonl*", "report.html", "checkpoints", "bundle")
    shutil.copytree(template, folder, ignore=shutil.ignore_patterns(*skipped))
    draw = random.Random(seed)
    speed = 0.02 + 0.002 * seed
    # Three values a step, and four an epoch.
    steps = max(1, (points // EPOCHS - 4) // 3)
    time, epoch, written = 1.7e9, 0, 0
    with open(folder / "metrics.jsonl", "w") as metrics, open(folder / "events.jsonl", "w") as events:
        if size is None:
            for epoch in range(1, EPOCHS + 1):
                lines, said, time = epoch_lines(epoch, steps, speed, draw, time)
                metrics.write(lines)
                events.write(said)
        else:
            # One epoch of 300,000 steps is drawn, and then repeated under other numbers.
            block, said, time = epoch_lines(1, 300_000, 0.5, draw, time)
            while written < size:
                epoch += 1
                written += metrics.write(re.sub('"epoch":1,', f'"epoch":{epoch},', block))
                events.write(re.sub('"epoch":1,', f'"epoch":{epoch},', said))
        if torn:
            metrics.write('{"time":1.0,"phase":"training","scope":"st')
            events.write('{"time":1.0,"ev')


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("template", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--runs", type=int, default=20)
    arguments.add_argument("--points", type=int, default=100_000)
    arguments.add_argument("--bytes", type=float)
    arguments.add_argument("--torn", action="store_true")
    given = arguments.parse_args()
    for number in range(given.runs):
        write(given.template, given.out / f"run-{number:02}", given.points, given.bytes, number, given.torn)


main()
