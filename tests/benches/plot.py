"""Draws the results of compare.py: `plot.py results.json plot.svg`."""

import json
import statistics
import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

rounds = json.load(open(sys.argv[1]))["rounds"]
names = list(dict.fromkeys(entry["workload"] for entry in rounds))
peers = [peer for peer in dict.fromkeys(entry["peer"] for entry in rounds)]
figure, axes = pyplot.subplots(1, len(names), figsize=(3.2 * len(names), 0.35 * len(peers) + 1.2), sharey=True, squeeze=False)
for axis, name in zip(axes[0], names):
    times = {
        peer: statistics.median(e["seconds"] for e in rounds if (e["workload"], e["peer"]) == (name, peer)) for peer in peers
    }
    base = times.get("torch") or max(times.values())
    bars = axis.barh(peers, [base / times[peer] for peer in peers], color=["#3465a4" if "fluxbay" in p else "#babdb6" for p in peers])
    axis.bar_label(bars, [f" {base / times[peer]:.2f}" for peer in peers], fontsize=8)
    axis.axvline(1.0, color="black", linewidth=0.6)
    axis.set_title(name.upper())
    axis.margins(x=0.2)
axes[0][0].invert_yaxis()
figure.supxlabel("steps per second, relative to PyTorch eager", fontsize=9)
figure.tight_layout()
figure.savefig(sys.argv[2])
