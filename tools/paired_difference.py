#!/usr/bin/env python3
"""The mean of a metric in several runs of `pith eval`, and its difference to the first, item by item.

  tools/paired_difference.py out/bf16 out/int8 out/int4 [--metric 0] [--method none]

A run is an output directory; all must hold the same items of the same tasks. The metric's number is
its place in the task's list. The standard error is of the mean over items of their differences,
each item's being that of its own mean; with items of one size, as perplexity's windows, that mean is
the difference of the means.
"""

import argparse
import json
import math
from pathlib import Path


def read(directory, method):
    """(task, item) -> the pairs [sum, count] of its metrics."""
    items = {}
    for path in sorted(Path(directory).glob("journal*.jsonl")):
        for line in path.read_text().splitlines()[1:]:
            entry = json.loads(line)
            if entry["method"] == method:
                items[entry["task"], entry["item"]] = entry["shares"]
    return items


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="output directories; the first is compared with")
    parser.add_argument("--metric", type=int, default=0, help="place in the task's list of metrics")
    parser.add_argument("--method", default="none", help="reduction, as the journal names it")
    arguments = parser.parse_args()
    runs = [read(run, arguments.method) for run in arguments.runs]
    first = runs[0]
    for name, run in zip(arguments.runs, runs):
        if run.keys() != first.keys() or len(run) < 2:
            parser.error(f"{name}: {len(run)} items, expected the {len(first)} of {arguments.runs[0]}, 2 or more")
    print("| run | items | mean | difference | standard error | % | standard error |\n|---|---|---|---|---|---|---|")
    for name, run in zip(arguments.runs, runs):
        mine = {item: shares[arguments.metric] for item, shares in run.items()}
        base = {item: shares[arguments.metric] for item, shares in first.items()}
        mean, of_base = (sum(s for s, _ in x.values()) / sum(n for _, n in x.values()) for x in (mine, base))
        each = [mine[i][0] / mine[i][1] - base[i][0] / base[i][1] for i in base]
        difference = sum(each) / len(each)
        error = math.sqrt(sum((d - difference) ** 2 for d in each) / (len(each) - 1) / len(each))
        print(f"| {name} | {len(each)} | {mean:.6f} | {difference:+.6f} | {error:.6f} "
              f"| {100 * difference / of_base:+.3f} | {100 * error / of_base:.3f} |")


if __name__ == "__main__":
    main()
