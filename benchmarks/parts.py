#!/usr/bin/env python3
"""Where prefill's time on the CPU goes, by perf's samples of bench_prefill on one thread.

    parts.py BENCH_PREFILL MODEL_DIR [TOKENS=2048] [REPEATS=4]

prints the share of each part in the samples that fall into prefill. Loading, decoding and whatever
is neither are left out. Needs perf; on a virtual machine its clock serves where counters do not.
"""

import re
import subprocess
import sys
import tempfile

# The first pattern that a symbol matches says its part.
PARTS = [
    ("", r"StepHead|::Tile<|AddPanels|AddTile<pith::(BF16|F16)>|Pack|LinearStep|json|Bpe|Tokenizer"),
    ("projections", r"AddTile|AddPanel<|AddPart|AddBlock|AddFilled|AddInPlace|RunBlock|FillPanel|CopyLeft"),
    ("state space layer", r"Multiply|Outputs|Write|Scores|HeadChunk|StepSizes|Run(Pair)?Task|ScanBlock|ReadState|AddRowsOfChunk|PairX"),
    ("convolution", r"Conv"),
    ("norms and gate", r"NormRow|Gate"),
    ("rest", r"pith::"),
]


def samples(bench, model, tokens, repeats):
    with tempfile.NamedTemporaryFile(suffix=".perf") as data:
        subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-F", "500", "-o", data.name, bench, model, tokens,
                        repeats, "1"], check=True, stdout=subprocess.DEVNULL)
        report = subprocess.run(["perf", "report", "-i", data.name, "--no-children", "--stdio", "-g", "none", "-n",
                                 "--percent-limit", "0", "-F", "sample,symbol"], check=True, capture_output=True, text=True)
    for line in report.stdout.splitlines():
        found = re.match(r"\s*(\d+)\s+\[.\]\s+(.*)", line)
        if found:
            yield int(found[1]), found[2]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    bench, model, tokens, repeats = (sys.argv[1:] + ["2048", "4"][len(sys.argv) - 3:])[:4]
    counts = {name: 0 for name, _ in PARTS}
    for count, symbol in samples(bench, model, tokens, repeats):
        part = next((name for name, pattern in PARTS if re.search(pattern, symbol)), "")
        counts[part] += count
    counts.pop("")
    total = sum(counts.values())
    if total == 0:
        sys.exit("parts.py: perf took no samples of prefill")
    for name, count in counts.items():
        print(f"{name:18} {100 * count / total:5.1f} %")


if __name__ == "__main__":
    main()
