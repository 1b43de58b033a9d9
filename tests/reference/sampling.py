"""Records the probabilities that transformers' logits processors give: host/src/predict/sampling.json.

Run with the packages of requirements-families.txt:

    python tests/reference/sampling.py
"""

import json
import pathlib

import numpy
import torch
import transformers
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

FILE = pathlib.Path(__file__).parents[2] / "host/src/predict/sampling.json"

CASES = [
    # temperature, top-k, top-p, repetition penalty
    (1.0, 0, 1.0, 1.0),
    (0.7, 0, 1.0, 1.0),
    (1.5, 5, 1.0, 1.0),
    (1.0, 0, 0.6, 1.0),
    (0.8, 7, 0.9, 1.0),
    (1.0, 0, 1.0, 1.3),
    (0.9, 6, 0.8, 1.2),
    (0.05, 0, 0.5, 1.0),
]


def main():
    random = numpy.random.default_rng(7)
    logits = random.normal(size=12).round(3).astype("float32") * 2
    text = [3, 5, 5, 11]
    cases = []
    for temperature, top_k, top_p, penalty in CASES:
        steps = LogitsProcessorList()
        if penalty != 1.0:
            steps.append(RepetitionPenaltyLogitsProcessor(penalty))
        steps.append(TemperatureLogitsWarper(temperature))
        if top_k:
            steps.append(TopKLogitsWarper(top_k))
        if top_p < 1.0:
            steps.append(TopPLogitsWarper(top_p))
        scores = steps(torch.tensor([text]), torch.from_numpy(logits)[None].double())
        cases.append(
            {
                "temperature": temperature,
                "top_k": top_k,
                "top_p": top_p,
                "repetition_penalty": penalty,
                "probabilities": scores.softmax(-1)[0].tolist(),
            }
        )
    record = {
        "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
        "logits": logits.tolist(),
        "text": text,
        "cases": cases,
    }
    FILE.write_text(json.dumps(record, indent=1) + "\n")


main()
