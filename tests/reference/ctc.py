"""Losses and weights of runs with the loss `ctc`, for `tests/pytorch.rs`.

    python tests/reference/ctc.py > tests/reference/ctc.json

Needs what `requirements-training.txt` names. A linear layer from 9 frames of 3 numbers to 9 of 5 scores is trained for 12 steps on 6 samples, with
PyTorch's `ctc_loss` over its log-softmax. The last sample of "too long" has more labels than frames allow.
"""

import json
import math

import torch
import torch.nn.functional as F

SAMPLES, FRAMES, INPUTS, CLASSES = 6, 9, 3, 5
# Padded with the blank, 0: repeated labels, one label, none, all places.
TARGETS = {
    "ctc": [[1, 2, 3, 0], [1, 1, 4, 0], [2, 0, 0, 0], [0, 0, 0, 0], [4, 3, 2, 1], [3, 3, 3, 3]],
    "ctc, another blank": [[1, 2, 3, 4], [1, 1, 0, 4], [2, 4, 4, 4], [4, 4, 4, 4], [0, 3, 2, 1], [3, 3, 0, 3]],
    "ctc, too long": [[1, 2, 3, 0, 0, 0], [1, 1, 4, 0, 0, 0], [2, 0, 0, 0, 0, 0], [0] * 6, [4, 3, 2, 1, 2, 3], [3] * 6],
}
SETTINGS = {"ctc": (0, ""), "ctc, another blank": (4, "blank = 4\n"), "ctc, too long": (0, 'too-long = "zero"\n')}


def main():
    torch.set_num_threads(1)
    x = [[[math.sin(1.0 + i + 0.7 * t * (k + 1)) for k in range(INPUTS)] for t in range(FRAMES)] for i in range(SAMPLES)]
    w = [[round(0.3 * math.cos(c + 2.0 * k), 3) for k in range(FRAMES * INPUTS)] for c in range(FRAMES * CLASSES)]
    b = [round(0.01 * c, 3) for c in range(FRAMES * CLASSES)]
    cases = {}
    for name, targets in TARGETS.items():
        blank, settings = SETTINGS[name]
        lengths = [next((i for i, label in enumerate(row) if label == blank), len(row)) for row in targets]
        weight, bias = (torch.nn.Parameter(torch.tensor(one)) for one in (w, b))
        optimizer, losses = torch.optim.SGD([weight, bias], lr=0.05), []
        for _ in range(12):
            scores = F.linear(torch.tensor(x).flatten(1), weight, bias).reshape(SAMPLES, FRAMES, CLASSES)
            scores = F.log_softmax(scores, -1).transpose(0, 1)
            loss = F.ctc_loss(
                scores, torch.tensor(targets), torch.full((SAMPLES,), FRAMES), torch.tensor(lengths), blank, zero_infinity=True
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        cases[name] = {"settings": settings, "targets": targets, "losses": losses, "bias": bias.tolist()}
    versions = {"torch": torch.__version__}
    parts = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in {**versions, "inputs": x, "weight": w, "bias": b}.items()]
    listed = ",\n".join(f"  {json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
    print("{" + ",\n".join(parts) + f',\n"cases": {{\n{listed}\n}}}}')


main()
