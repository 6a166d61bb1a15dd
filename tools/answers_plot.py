#!/usr/bin/env python3
"""Draws the plot of README.md from the first table of docs/study.md: answers against work saved.

    answers_plot.py           writes docs/images/answers.svg
    answers_plot.py --check   status 1 where that file is not what the table says

The table is the only source of numbers. Text stays text, on a light ground of its own, so that it
reads the same on light and dark pages.
"""
import pathlib
import re
import sys
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parent.parent
IMAGE = ROOT / "docs/images/answers.svg"

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 64, 734, 58, 404  # of the axes
MOST = 60  # per cent of the work saved at the right border

# Colours after Okabe and Ito, as on the report page.
OURS, UTRC, CONTROL, OTHER = "#0068a8", "#c84e00", "#4d4d4d", "#a8448a"

# Lines that join the strengths of one method: reductions, colour, the point that bears the name,
# its shift, where the text begins or ends, and what it says.
LINES = [
    (["skim", "skim:full=0-9,mass=0.1,window=256", "skim@40%"], OURS,
     "skim", (-8, 18), "end", "skim (ours)"),
    (["truncate@10%", "truncate@30%", "truncate@50%"], CONTROL,
     "truncate@50%", (8, 13), "start", "truncation"),
    (["utrc@10%", "utrc@30%", "utrc@50%"], UTRC,
     "utrc@30%", (10, 0), "start", "UTRC, as the paper describes it"),
]
# Methods with one point; one without a text stands where its neighbour here does.
POINTS = [
    ("span-drop@30%", OURS, (9, -8), "start", "span-drop (ours)"),
    ("prefix-thin@30%", CONTROL, None, None, None),
    ("utrc-published@30%", UTRC, (10, 13), "start", "UTRC's published code"),
    ("random@30%", CONTROL, (-10, -2), "end", "random rows"),
    ("evit@30%", OTHER, (10, 4), "start", "EViT"),
    ("ltmp@30%", OTHER, (10, 2), "start", "LTMP"),
    ("pumer@30%", OTHER, (10, 3), "start", "PuMer, ToMe"),
    ("tome@30%", OTHER, None, None, None),
]


def read_table(text):
    """{reduction: (saved %, answers %, standard error)} of the first table with answers."""
    table = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("| `"):
            if table:
                break
            continue
        answers = re.match(r"([\d.]+) (?:± ([\d.]+)|\(.* ± ([\d.]+)\))", cells[2])
        table[cells[0].strip("`")] = (float(cells[1].split()[0]), float(answers[1]),
                                      float(answers[2] or answers[3]))
    return table


def x_of(saved):
    return LEFT + saved / MOST * (RIGHT - LEFT)


def y_of(answers):
    return BOTTOM - answers / 100 * (BOTTOM - TOP)


def text(x, y, anchor, words, style=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>'
            f"{escape(words)}</text>")


def line(x1, y1, x2, y2, style):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {style}/>'


def axes():
    parts = []
    for saved in range(0, MOST + 1, 10):
        x = x_of(saved)
        parts.append(line(x, TOP, x, BOTTOM, 'stroke="#e3e6ea"'))
        parts.append(text(x, BOTTOM + 20, "middle", f"{saved} %"))
    for answers in range(0, 101, 20):
        y = y_of(answers)
        parts.append(line(LEFT, y, RIGHT, y, 'stroke="#e3e6ea"'))
        parts.append(text(LEFT - 8, y + 5, "end", f"{answers} %"))
    parts.append(text((LEFT + RIGHT) / 2, BOTTOM + 44, "middle",
                      "work of the layers over the prompt that was saved"))
    parts.append(text(12, 26, "start", "Questions about facts in the prompt that were answered right",
                      ' font-weight="bold"'))
    return parts


def marks(figures, colour):
    """A dot with a bar of one standard error each."""
    parts = []
    for saved, answers, error in figures:
        x, y = x_of(saved), y_of(answers)
        parts.append(line(x, y_of(max(0, answers - error)), x, y_of(min(100, answers + error)),
                          f'stroke="{colour}" stroke-width="2"'))
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>')
    return parts


def label(figure, shift, anchor, words, colour):
    return text(x_of(figure[0]) + shift[0], y_of(figure[1]) + shift[1] + 5, anchor, words,
                f' fill="{colour}"')


def draw(table):
    dense = table["none"][1]
    parts = axes()
    parts.append(line(LEFT, y_of(dense), RIGHT, y_of(dense),
                      'stroke="#1c1f23" stroke-dasharray="5 4"'))
    parts.append(text(LEFT + 8, y_of(dense) - 6, "start", f"every token through every layer: {dense} %"))
    for names, colour, named, shift, anchor, words in LINES:
        figures = [table[name] for name in names]
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y, _ in figures)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        parts += marks(figures, colour)
        parts.append(label(table[named], shift, anchor, words, colour))
    for name, colour, shift, anchor, words in POINTS:
        parts += marks([table[name]], colour)
        if words:
            parts.append(label(table[name], shift, anchor, words, colour))
    body = "\n".join(parts)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" \
height="{HEIGHT}" font-family="DejaVu Sans, Verdana, Helvetica, sans-serif" font-size="14" fill="#1c1f23">
<title>Answers kept against work saved, Mamba-2, prompts of about 1,800 tokens</title>
<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#ffffff"/>
{body}
</svg>
"""


def main():
    drawn = draw(read_table((ROOT / "docs/study.md").read_text(encoding="utf-8")))
    if sys.argv[1:] == ["--check"]:
        same = IMAGE.read_text(encoding="utf-8") == drawn
        print("plot: as docs/study.md has it" if same else
              f"{IMAGE.relative_to(ROOT)}: differs from docs/study.md; run tools/answers_plot.py")
        return 0 if same else 1
    IMAGE.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
