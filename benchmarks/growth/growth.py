#!/usr/bin/env python3
"""Time and peak memory of prefill against the length of the prompt: measures, tabulates and draws.

    growth.py [--pith build/cpu/pith] [--model models/pith-27m-mamba2] [--to 131072] [--repeats 3]
              [--reduce none,utrc@30%,skim] [--threads 2]
    growth.py --draw            only draws growth.json again

Writes growth.json, growth.md and growth.svg beside this file. Each length is one run of `pith bench`, in
which the reductions take turns. `make growth` runs it; what a reduction is told (a window for its
matches, say) stands in --reduce.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
from xml.sax.saxutils import escape

HERE = pathlib.Path(__file__).resolve().parent
FIRST = 512
COLOURS = ["#4d4d4d", "#c84e00", "#0068a8", "#a8448a"]  # after Okabe and Ito
WIDTH, PANEL, LEFT, TOP, BOTTOM, HEIGHT = 880, 340, 70, 54, 366, 420


def lengths_to(last):
    length = FIRST
    while length <= last:
        yield length
        length *= 2


def measure(args):
    result = {"rows": []}
    for length in lengths_to(args.to):
        print(length, "tokens", file=sys.stderr)
        command = [args.pith, "bench", "--model", args.model, "--prompt", str(length), "--reduce",
                   args.reduce, "--decode", "0", "--repeats", str(args.repeats), "--threads",
                   str(args.threads), "--json", "--quiet"]
        out = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for key in ("build", "processor", "threads", "description"):
            result[key] = out[key]
        result["model"], result["repeats"] = args.model, args.repeats
        result["rows"] += [{"reduce": row["reduce"], "tokens": length, "ms": row["prefill_ms"],
                            "bytes": row["peak_bytes"], "realised": row["realised"]}
                           for row in out["rows"]]
        write("growth.json", json.dumps(result, indent=1) + "\n")
    return result


def series_of(result):
    series = {}
    for row in result["rows"]:
        series.setdefault(row["reduce"], []).append(row)
    return series


def slope(rows, value):
    """Of the upper half of the lengths, by least squares: what one more token costs."""
    rows = rows[len(rows) // 2:]
    x = [row["tokens"] for row in rows]
    y = [value(row) for row in rows]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - mx) ** 2 for a in x)
    return sum((a - mx) * (b - my) for a, b in zip(x, y)) / spread if spread else math.nan


def exponent(rows):
    """Of the last doubling: 1 is linear, 2 quadratic."""
    if len(rows) < 2:
        return math.nan
    return math.log(rows[-1]["ms"] / rows[-2]["ms"]) / math.log(rows[-1]["tokens"] / rows[-2]["tokens"])


def table(result):
    series = series_of(result)
    names = list(series)
    lines = ["| tokens | " + " | ".join(f"{n}, ms | {n}, MiB" for n in names) + " |",
             "|---" * (1 + 2 * len(names)) + "|"]
    for i, row in enumerate(series[names[0]]):
        cells = [f"{series[n][i]['ms']:,.0f} | {series[n][i]['bytes'] / 2**20:,.0f}" for n in names]
        lines.append(f"| {row['tokens']:,} | " + " | ".join(cells) + " |")
    dense = series[names[0]]
    lines += ["", "| reduction | µs a further token | beside the first | of the work, as counted "
              "| exponent of the last doubling | bytes a further token |", "|---|---|---|---|---|---|"]
    for name in names:
        rows = series[name]
        micros = 1e3 * slope(rows, lambda r: r["ms"])
        counted = slope(rows, lambda r: (1 - r["realised"]) * r["tokens"])
        beside = micros / (1e3 * slope(dense, lambda r: r["ms"]))
        lines.append(f"| {name} | {micros:.1f} | {beside:.3f} | {counted:.3f} | {exponent(rows):.2f} "
                     f"| {slope(rows, lambda r: r['bytes']):,.0f} |")
    return lines


class Panel:
    """A plot with logarithmic axes."""

    def __init__(self, left, title, series, value):
        self.left, self.title, self.series, self.value = left, title, series, value
        points = [row for rows in series.values() for row in rows]
        self.x0, self.x1 = (math.log2(f(r["tokens"] for r in points)) for f in (min, max))
        values = [math.log10(value(r)) for r in points]
        self.y0, self.y1 = math.floor(min(values)), math.ceil(max(values))

    def x(self, tokens):
        span = max(1, self.x1 - self.x0)
        return self.left + (math.log2(tokens) - self.x0) / span * PANEL

    def y(self, value):
        span = max(1, self.y1 - self.y0)
        return BOTTOM - (math.log10(value) - self.y0) / span * (BOTTOM - TOP)

    def draw(self):
        out = [f'<text x="{self.left}" y="{TOP - 12}" font-weight="bold">{escape(self.title)}</text>']
        for power in range(self.y0, self.y1 + 1):
            y = self.y(10.0 ** power)
            out.append(f'<line x1="{self.left}" y1="{y:.1f}" x2="{self.left + PANEL}" y2="{y:.1f}" '
                       'stroke="#ddd"/>')
            out.append(f'<text x="{self.left - 6}" y="{y + 4:.1f}" text-anchor="end">'
                       f'{10.0 ** power:g}</text>')
        for power in range(round(self.x0), round(self.x1) + 1, 2):
            x = self.x(2.0 ** power)
            out.append(f'<text x="{x:.1f}" y="{BOTTOM + 18}" text-anchor="middle">{2 ** power:,}</text>')
        for (name, rows), colour in zip(self.series.items(), COLOURS):
            points = [(self.x(r["tokens"]), self.y(self.value(r))) for r in rows]
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points]
        return out


def svg(result):
    series = series_of(result)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    out += Panel(LEFT, "prefill, ms", series, lambda r: r["ms"]).draw()
    out += Panel(LEFT + PANEL + 90, "peak memory, MiB", series, lambda r: r["bytes"] / 2**20).draw()
    x = LEFT
    for name, colour in zip(series, COLOURS):
        out.append(f'<text x="{x}" y="{HEIGHT - 8}" fill="{colour}">● {escape(name)}</text>')
        x += 40 + 7 * len(name)  # letters of 12 are some 7 wide
    out.append(f'<text x="{WIDTH - 20}" y="{HEIGHT - 8}" text-anchor="end">tokens of the prompt</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def page(result):
    facts = [f"model      {result['model']}", f"           {result['description']}",
             f"processor  {result['processor']}, {result['threads']} threads",
             f"repeats    {result['repeats']}, medians", result["build"]]
    return "\n".join(["# Growth", "", "Written by `make growth`. ![time and memory](growth.svg)", "",
                      "```"] + facts + ["```", ""] + table(result)) + "\n"


def write(name, text):
    new = HERE / (name + ".tmp")
    new.write_text(text, encoding="utf-8")
    os.replace(new, HERE / name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pith", default="build/cpu/pith")
    parser.add_argument("--model", default="models/pith-27m-mamba2")
    parser.add_argument("--reduce", default="none,utrc@30%,skim")
    parser.add_argument("--to", type=int, default=131072, help="the longest prompt")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--draw", action="store_true", help="draw growth.json again")
    args = parser.parse_args()
    if args.draw:
        result = json.loads((HERE / "growth.json").read_text(encoding="utf-8"))
    else:
        result = measure(args)
    write("growth.md", page(result))
    write("growth.svg", svg(result))
    print(page(result))


if __name__ == "__main__":
    main()
