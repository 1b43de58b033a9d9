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
    seconds = {peer: [e["seconds"] for e in rounds if (e["workload"], e["peer"]) == (name, peer)] for peer in peers}
    # A peer that does not run this workload has no bar.
    times = {peer: statistics.median(all) for peer, all in seconds.items() if all}
    base = times.get("torch") or max(times.values())
    rates = [base / times[peer] if peer in times else 0.0 for peer in peers]
    bars = axis.barh(peers, rates, color=["#3465a4" if "fluxbay" in p else "#babdb6" for p in peers])
    axis.bar_label(bars, [f" {rate:.2f}" if rate else "" for rate in rates], fontsize=8)
    axis.axvline(1.0, color="black", linewidth=0.6)
    axis.set_title(name.upper())
    axis.margins(x=0.2)
axes[0][0].invert_yaxis()
figure.supxlabel("steps per second, relative to PyTorch eager", fontsize=9)
figure.tight_layout()
figure.savefig(sys.argv[2])
