#!/usr/bin/env python3
"""Plots a metric against the realised reduction, from results.json of `pith eval`.

    plots.py out/eval/results.json --output docs/images/tasks.svg
    plots.py out/long/results.json --task recall --metric answers --output docs/images/recall.png

One series per method, dense as a level line, bars of one standard error: of the paired difference
to dense where there is one. Without --task one panel per task; without --metric the headline one.
Needs matplotlib.
"""
import argparse
import json
import math
import pathlib
import sys

import matplotlib

matplotlib.use("svg")  # before pyplot: no display is needed
matplotlib.rcParams["svg.hashsalt"] = "pith"  # the same file for the same results
import matplotlib.pyplot as plt  # noqa: E402

# After Okabe and Ito's set for every kind of colour vision, as on the report page.
COLOURS = ["#0068a8", "#c84e00", "#008560", "#a8448a", "#946800", "#3b8fc4", "#6b3fa0", "#4d4d4d"]
MARKERS = "os^DvPp"


def family(method):
    """What stands around `@N%`: the strengths of a method make one series; skim is one."""
    if method.replace(":", "@").split("@")[0] == "skim":
        return "skim"
    name, at, rest = method.partition("@")
    return name + rest.partition("%")[2] if at else name


def figure_of(row, metric):
    for figure in row["metrics"]:
        if figure["metric"] == metric or (metric is None and figure["headline"]):
            return figure
    known = ", ".join(figure["metric"] for figure in row["metrics"])
    sys.exit(f"plots.py: {row['task']}: metric: got {metric!r}, expected one of {known}")


def points_of(rows, metric):
    """Dense value, and {family: [(realised %, value, bar)]} by rising reduction."""
    dense, series = None, {}
    for row in rows:
        figure = figure_of(row, metric)
        if figure["value"] is None:  # no item counted
            continue
        if row["method"] == "none":
            dense = figure["value"]
            continue
        spread = figure["difference"] or figure
        bar = spread["standard_error"] or 0
        point = (100 * (row["realised"] or 0), figure["value"], bar)
        series.setdefault(family(row["method"]), []).append(point)
    return dense, {name: sorted(points) for name, points in series.items()}


def draw(axes, task, rows, metric, styles):
    dense, series = points_of(rows, metric)
    if dense is not None:
        axes.axhline(dense, color="#5b646e", linewidth=1.2, linestyle=(0, (6, 4)), label="dense")
    for name, points in series.items():
        x, y, bars = zip(*points)
        style = styles.setdefault(name, len(styles))
        axes.errorbar(x, y, yerr=bars, label=name, color=COLOURS[style % len(COLOURS)],
                      marker=MARKERS[style % len(MARKERS)], markersize=5.5, linewidth=1.5,
                      capsize=2.5, elinewidth=1)
    axes.set_title(task, fontsize=11)
    axes.set_ylabel(figure_of(rows[0], metric)["metric"])
    axes.grid(color="#e6e9ed")
    axes.set_axisbelow(True)
    axes.set_xlim(left=0)
    axes.set_xlabel("realised reduction, %")
    if figure_of(rows[0], metric)["higher_is_better"]:  # a share: bars do not go below 0
        axes.set_ylim(bottom=max(0, axes.get_ylim()[0]))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=pathlib.Path, help="results.json of pith eval")
    parser.add_argument("--task", action="append", help="this task only; may be repeated")
    parser.add_argument("--metric", help="in place of the headline metric")
    parser.add_argument("--methods", help="series to show, with | between; default: all")
    parser.add_argument("--output", type=pathlib.Path, required=True, help=".svg or .png")
    arguments = parser.parse_args()

    rows = json.loads(arguments.results.read_text())["rows"]
    if arguments.methods:
        wanted = {"none", *arguments.methods.split("|")}
        rows = [row for row in rows if family(row["method"]) in wanted]
    known = list(dict.fromkeys(row["task"] for row in rows))
    tasks = arguments.task or known
    for task in tasks:
        if task not in known:
            sys.exit(f"plots.py: --task: got {task!r}, expected one of {', '.join(known)}")

    columns = min(3, len(tasks))
    lines = math.ceil(len(tasks) / columns)
    figure, grid = plt.subplots(lines, columns, squeeze=False, layout="constrained",
                                figsize=(max(5.2, 3.6 * columns), 3.2 * lines + 0.8))
    styles = {}
    panels = list(grid.flat)
    for axes, task in zip(panels, tasks):
        draw(axes, task, [r for r in rows if r["task"] == task], arguments.metric, styles)
    for axes in panels[len(tasks):]:
        axes.remove()
    keys = {}
    for axes in panels[:len(tasks)]:
        handles, labels = axes.get_legend_handles_labels()
        keys |= dict(zip(labels, handles))
    figure.legend(keys.values(), keys.keys(), loc="outside lower center", frameon=False,
                  ncols=min(4, len(keys)), fontsize=9)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"Date": None} if arguments.output.suffix == ".svg" else None
    figure.savefig(arguments.output, dpi=160, metadata=metadata)


if __name__ == "__main__":
    main()
