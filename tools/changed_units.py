#!/usr/bin/env python3
"""Lists the sources of a build that clang-tidy should read again, one a line.

    changed_units.py COMPILE_COMMANDS [BASE]

Those are the sources that differ from commit BASE or include a header that does; without BASE, all.
Not the tests: what GoogleTest's macros expand to is not ours.
"""
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE_ROOTS = ("", "src/", "include/")


def git(*arguments):
    run = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(run.stdout.splitlines())


def includes(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE):
        yield from (root + name for root in INCLUDE_ROOTS)


def main():
    commands = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    files = (pathlib.Path(command["file"]) for command in commands)
    units = sorted({str(f.relative_to(ROOT)) for f in files
                    if f.is_relative_to(ROOT) and not f.is_relative_to(ROOT / "tests")})
    base = sys.argv[2] if len(sys.argv) > 2 else ""
    if base:
        changed = git("diff", "--name-only", base)
        changed |= git("ls-files", "--others", "--exclude-standard")
        units = [u for u in units if u in changed or not changed.isdisjoint(includes(u))]
    print("\n".join(units))


if __name__ == "__main__":
    main()
