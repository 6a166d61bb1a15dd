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
                        help="the headline metric of every task, and the mean of the accuracies")
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


def number(value, digits, sign=False, scale=1):
    return "-" if value is None else f"{value * scale:{'+' if sign else ''}.{digits}f}"


def cell(metric, percent):
    """Value and standard error, then the paired difference to dense with its own."""
    share = percent and 0 <= (metric["value"] or 0) <= 1 and metric["metric"] not in ("nll", "ppl")
    scale, digits = (100, 1) if share else (1, 2 if metric["metric"] == "ppl" else 4)
    text = number(metric["value"], digits, scale=scale)
    difference = metric["difference"]
    if difference is None or difference["value"] == 0 and not difference["standard_error"]:
        return f"{text} ± {number(metric['standard_error'], digits, scale=scale)}"
    return (f"{text} ({number(difference['value'], digits, True, scale)}"
            f" ± {number(difference['standard_error'], digits, scale=scale)})")


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
    average = arguments.headlines and sum(name.startswith("acc") for _, name in columns) > 1
    head = ["reduction", "realised"] + heads + (["mean"] if average else [])
    print("| " + " | ".join(head) + " |")
    print("|---|" + "---|" * (len(head) - 1))
    for method in methods:
        line = [f"`{method}`", f"{100 * realised[method]['realised']:.1f} %"]
        found = [cells.get((task, method, metric)) for task, metric in columns]
        line += ["-" if metric is None else cell(metric, arguments.percent) for metric in found]
        if average:
            shares = [metric and metric["value"] for metric, (_, name) in zip(found, columns)
                      if name.startswith("acc")]
            whole = shares and all(share is not None for share in shares)
            line.append(number(sum(shares) / len(shares), 1, scale=100) if whole else "-")
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
