#!/usr/bin/env python3
"""Markdown tables from the results.json of `pith eval`, as docs/study.md shows them.

  tools/eval_table.py out/eval/results.json --metrics recall:answer_tokens,perplexity:nll
  tools/eval_table.py out/eval/results.json --headlines --percent
"""

import argparse
import json


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", help="results.json of pith eval")
    parser.add_argument("--metrics", default="", help="columns: TASK:METRIC,...")
    parser.add_argument("--headlines", action="store_true",
                        help="the headline metric of every task, and the mean of those in 0 ... 1")
    parser.add_argument("--percent", action="store_true", help="shares in per cent")
    parser.add_argument("--realised-of", default="", help="task whose realised share is shown")
    return parser.parse_args()


def columns_of(rows, arguments):
    if arguments.metrics:
        return [tuple(column.split(":", 1)) for column in arguments.metrics.split(",")]
    columns = []
    for row in rows:
        for metric in row["metrics"]:
            column = (row["task"], metric["metric"])
            if metric["headline"] and column not in columns:
                columns.append(column)
    return columns


def number(value, digits, sign=False):
    return "-" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def cell(metric, percent):
    """Value and standard error, then the paired difference to dense with its own."""
    share = percent and 0 <= (metric["value"] or 0) <= 1 and metric["metric"] not in ("nll", "ppl")
    scale, digits = (100, 1) if share else (1, 2 if metric["metric"] == "ppl" else 4)
    text = number(metric["value"] * scale, digits)
    difference = metric["difference"]
    if difference is None or difference["standard_error"] == 0 and difference["value"] == 0:
        return f"{text} ± {number(metric['standard_error'] * scale, digits)}"
    return (f"{text} ({number(difference['value'] * scale, digits, True)}"
            f" ± {number(difference['standard_error'] * scale, digits)})")


def main():
    arguments = parse_arguments()
    with open(arguments.results, encoding="utf-8") as file:
        rows = json.load(file)["rows"]
    columns = columns_of(rows, arguments)
    realised_of = arguments.realised_of or columns[0][0]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    cells = {(row["task"], row["method"], metric["metric"]): metric
             for row in rows for metric in row["metrics"]}
    realised = {row["method"]: row for row in rows if row["task"] == realised_of}
    tasks = {task for task, _ in columns}
    heads = [metric if len(tasks) == 1 else f"{task} {metric}" for task, metric in columns]
    average = arguments.headlines and len(columns) > 1
    head = ["reduction", "realised"] + heads + (["mean"] if average else [])
    print("| " + " | ".join(head) + " |")
    print("|---|" + "---|" * (len(head) - 1))
    for method in methods:
        line = [f"`{method}`", f"{100 * realised[method]['realised']:.1f} %"]
        found = [cells.get((task, method, metric)) for task, metric in columns]
        line += ["-" if metric is None else cell(metric, arguments.percent) for metric in found]
        if average:
            # LAMBADA's headline is a perplexity; its accuracy stands in the paper's averages.
            shares = [cells[(task, method, "acc")] if metric == "ppl" else
                      cells[(task, method, metric)] for task, metric in columns]
            line.append(f"{100 * sum(share['value'] for share in shares) / len(shares):.1f}")
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
