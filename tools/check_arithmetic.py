#!/usr/bin/env python3
"""Checks that no arithmetic on rows stands above src/ops.

    check_arithmetic.py               checks the tree; status 1 and FILE:LINE for each breach
    check_arithmetic.py --self-test   checks that planted breaches are found

In src/model, src/reduce and src/score a MatView or VecView may be cut (Rows, Cols, Part) and handed
to an operator. What its rows hold lies in a backend's memory: nothing there may follow its pointer,
and nothing there shares work out over threads, which kernels do. Loops over what lies on the host
(plans, edges, importances, masks, token ids) are planning and free. ALLOWED names exceptions, each
with its reason; one that matches nothing is a breach too.
"""
import pathlib
import re
import sys
import tempfile

FOLDERS = ("model", "reduce", "score")
SUFFIXES = {".h", ".cc", ".cu", ".cuh"}
RULES = [
    (re.compile(r'#\s*include\s*[<"](core/parallel\.h|omp\.h|hwy/[^">]*|thread|execution)[">]'),
     "work is shared out over threads and lanes by kernels"),
    (re.compile(r"\bParallelFor\b|#\s*pragma\s+omp\b"), "work is shared out by kernels"),
    (re.compile(r"(\.|->)Row\("), "rows are read and written by operators"),
    # The member `data` of a view; a vector's or a buffer's is a function.
    (re.compile(r"(\.|->)data\s*(\[|\+(?!\+)|-(?![->]))"), "an offset into a view's data"),
    (re.compile(r"\*\s*\w+(\.|->)data\b(?!\()"), "a view's data is followed"),
    (re.compile(r"\bview\(\)\.data\b(?!\()\s*[^,;)}\s]"), "a view's data is followed"),
]
# (file, text of the line) → reason.
ALLOWED = {}


def code(line):
    """The line without its comment and without what stands in quotes, an include's name apart."""
    if re.match(r"\s*#\s*include", line):
        return line
    return re.sub(r'"(\\.|[^"\\])*"', '""', line).split("//")[0]


def check(root, allowed):
    """One line of text for each breach under root."""
    found, used = [], set()
    paths = [p for folder in FOLDERS for p in (root / "src" / folder).rglob("*")]
    for path in sorted(p for p in paths if p.suffix in SUFFIXES):
        name = str(path.relative_to(root))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            why = next((why for rule, why in RULES if rule.search(code(line))), None)
            if why is None:
                continue
            if (name, line.strip()) in allowed:
                used.add((name, line.strip()))
            else:
                found.append(f"{name}:{number}: {why}: {line.strip()}")
    for name, text in sorted(set(allowed) - used):
        found.append(f"{name}:0: allowed, but not there: {text}")
    return found


# One line of source each, and whether it is a breach.
PLANTED = [
    ('#include "core/parallel.h"', True),
    ("#include <hwy/highway.h>", True),
    ("  ParallelFor(threads, rows, [&](int64_t r) {});", True),
    ("#pragma omp parallel for", True),
    ("  float* row = x.view().Row(r);", True),
    ("  sum += view->Row(r)[c];", True),
    ("  const float v = x.data[i];", True),
    ("  const float* at = x.data + i * x.stride;", True),
    ("  const float first = *x.data;", True),
    ("  const float first = ws.x.view().data[0];", True),
    ("  AddRows(exec, a.Rows(0, n), b.Rows(0, n), out);", False),
    ("  // x.Row(r)[c] in a comment", False),
    ('  Throw("ParallelFor");', False),
    ("  scores[i] = importance.data()[i];", False),
    ("  const MatView<float> block(products.view().data, rows, cols);", False),
    ("  for (const Edge& edge : edges) sum += edge.importance;", False),
    ('#include "ops/rows.h"', False),
]


def self_test():
    wrong = []
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        for folder in (*FOLDERS, "reduce/policies", "ops"):
            (root / "src" / folder).mkdir(parents=True, exist_ok=True)
            text = "\n".join(line for line, _ in PLANTED)
            (root / "src" / folder / "a.cc").write_text(text, encoding="utf-8")
        found = {line.split(": ")[0] for line in check(root, {})}
        expected = {f"src/{folder}/a.cc:{i}" for folder in (*FOLDERS, "reduce/policies")
                    for i, (_, breach) in enumerate(PLANTED, 1) if breach}
        for place in sorted(found ^ expected):
            wrong.append(f"{place}: {'missed' if place in expected else 'reported without reason'}")
        line = PLANTED[4][0].strip()
        allowed = {("src/model/a.cc", line): "planted", ("src/model/b.cc", line): "stale"}
        found = {line.split(": ")[0] for line in check(root, allowed)}
        if "src/model/a.cc:5" in found or "src/model/b.cc:0" not in found:
            wrong.append("the list of exceptions is not kept")
    print("\n".join(wrong), end="\n" if wrong else "")
    return 1 if wrong else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    found = check(pathlib.Path(__file__).resolve().parent.parent, ALLOWED)
    print("\n".join(found) or "arithmetic: none above src/ops")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
