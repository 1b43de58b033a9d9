"""Writes the numbers that the tests of metrics of sequences compare with, as sacrebleu, rouge-score and jiwer give them.

Run from the top of the repository, in an environment with tests/reference/requirements.txt:

    python tests/reference/sequences.py > plugins/metrics/tests/sequences.json
"""

import json
import sys
from importlib.metadata import version

import jiwer
import numpy as np
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU


def words(ids):
    return " ".join(f"w{id}" for id in ids)


def main():
    rng = np.random.default_rng(5)
    pairs = []
    for _ in range(8):
        wanted = rng.integers(1, 9, rng.integers(3, 14))
        predicted = [id if rng.random() < 0.7 else int(rng.integers(1, 9)) for id in wanted]
        # Some tokens are left out, some come twice.
        predicted = [id for id in predicted for _ in range(int(rng.choice([0, 1, 1, 1, 1, 2])))]
        pairs.append([[int(id) for id in predicted] or [1], [int(id) for id in wanted]])
    predicted, wanted = zip(*[[words(predicted), words(wanted)] for predicted, wanted in pairs])
    bleu = lambda **settings: BLEU(tokenize="none", **settings).corpus_score(list(predicted), [list(wanted)]).score / 100
    expected = {
        "bleu-4": bleu(smooth_method="none"),
        "bleu-2": bleu(smooth_method="none", max_ngram_order=2),
        "bleu-4-smooth": bleu(smooth_method="add-k", smooth_value=1),
        "word-error-rate": jiwer.wer(list(wanted), list(predicted)),
    }
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"])
    scores = [scorer.score(target, found) for found, target in zip(predicted, wanted)]
    for key, name in [("rouge1", "rouge-1"), ("rouge2", "rouge-2"), ("rougeL", "rouge-l")]:
        expected[name] = float(np.mean([score[key].fmeasure for score in scores]))
    versions = {package: version(package) for package in ["sacrebleu", "rouge-score", "jiwer"]}
    json.dump({"versions": versions, "pairs": pairs, "expected": expected}, sys.stdout, separators=(",", ":"))
    sys.stdout.write("\n")


main()
