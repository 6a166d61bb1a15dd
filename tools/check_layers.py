#!/usr/bin/env python3
"""Checks that includes point one way through the layers of src/.

    check_layers.py               checks the tree; status 1 and FILE:LINE for each wrong include
    check_layers.py --self-test   checks that planted wrong includes are found

Includes are written from src/ or include/ ("core/error.h", "pith/engine.h"), never relative; files of
python/src/ name their neighbours without a folder.
"""
import pathlib
import re
import sys
import tempfile

# What each layer builds on; it may include these and all that they build on.
BUILDS_ON = {
    "pith": [],  # include/pith
    "core": ["pith"],
    "load": ["core"],
    "tokenize": ["core"],
    "ops": ["core"],
    "backends": ["ops"],
    "reduce": ["ops"],
    "model": ["load", "reduce"],
    "generate": ["model", "tokenize"],
    "score": ["model", "tokenize"],
    "engine": ["generate", "score"],
    # Front ends see the interface alone; those that people use build on others.
    "eval": ["core"],
    "serve": ["core"],
    "python": ["eval"],
    "cli": ["eval", "serve"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<(pith/[^>]+)>)')
SUFFIXES = {".h", ".cc", ".cu", ".cuh"}


def allowed(layer):
    below = {layer}
    for other in BUILDS_ON[layer]:
        below |= allowed(other)
    return below


def problem(place, included):
    """Why the file at `place` may not include `included`; both are tuples of path parts."""
    if place[0] not in BUILDS_ON:
        return f"{place[0]} is no layer that tools/check_layers.py knows"
    if place[0] == "python" and len(included) == 1:
        return None
    if included[0] not in BUILDS_ON:
        return "no layer of src/; write the path from src/ or include/"
    if included[0] not in allowed(place[0]):
        return f"{place[0]} may not include {included[0]}"
    if place[0] == included[0] == "backends" and place[1] != included[1]:
        return f"backend {place[1]} may not include backend {included[1]}"
    return None


def check(root):
    """One line of text for each wrong include under root."""
    found = []
    for base in (root / "include", root / "src", root / "python"):
        for path in sorted(p for p in base.rglob("*") if p.suffix in SUFFIXES):
            place = path.relative_to(root if base.name == "python" else base).parts
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                match = INCLUDE.match(line)
                if not match:
                    continue
                name = match[1] or match[2]
                why = problem(place, pathlib.PurePosixPath(name).parts)
                if why:
                    found.append(f'{path.relative_to(root)}:{number}: "{name}": {why}')
    return found


PLANTED = {
    "include/pith/engine.h": ("core/tensor.h", False),
    "include/pith/pith.h": ("pith/engine.h", True),
    "src/core/a.h": ("load/b.h", False),
    "src/core/b.h": ("pith/error.h", True),
    "src/load/a.cc": ("tokenize/a.h", False),
    "src/ops/a.cc": ("backends/cpu/kernels.h", False),
    "src/backends/cpu/a.cc": ("backends/reference/kernels.h", False),
    "src/backends/cpu/b.cc": ("ops/kernels.h", True),
    "src/model/a.cc": ("backends/cpu/kernels.h", False),
    "src/model/b.cc": ("../core/error.h", False),
    "src/reduce/policies/a.cc": ("model/state.h", False),
    "src/reduce/a.cc": ("load/model_config.h", False),
    "src/score/a.cc": ("generate/sampler.h", False),
    "src/cli/a.cc": ("eval/report.h", True),
    "src/stray/a.cc": ("core/error.h", False),
    "src/eval/a.cc": ("reduce/schedule.h", False),
    "src/eval/b.cc": ("pith/engine.h", True),
    "src/cli/b.cc": ("score/modes.h", False),
    "src/serve/a.cc": ("engine/impl.h", False),
    "src/serve/b.cc": ("pith/scheduler.h", True),
    "python/a.cc": ("engine/session.h", False),
    "python/b.cc": ("cli/options.h", False),
    "python/c.cc": ("neighbour.h", True),
    "src/core/c.cc": ("neighbour.h", False),
}


def self_test():
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        for name, (included, _) in PLANTED.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f'#include <vector>\n  # include "{included}"\n', encoding="utf-8")
        found = {line.split(": ")[0] for line in check(root)}
    expected = {f"{name}:2" for name, (_, fine) in PLANTED.items() if not fine}
    for place in sorted(found ^ expected):
        print(f"{place}: {'missed' if place in expected else 'reported without reason'}")
    return 1 if found ^ expected else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    found = check(pathlib.Path(__file__).resolve().parent.parent)
    print("\n".join(found) or "layers: includes point one way")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
