#!/usr/bin/env python3
"""Checks that files have at most 500 lines and functions at most 80; needs universal-ctags.

    check_sizes.py            exit status 1 and FILE:LINE for each that is longer
    check_sizes.py --report   also lists the ten longest files and functions
"""
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE_LINES = 500
FUNCTION_LINES = 80
PATTERNS = ("*.h", "*.cc", "*.cu", "*.cuh", "*.py", "*.sh", "*.cmake", "CMakeLists.txt", "Makefile")


def sources():
    run = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *PATTERNS],
        cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in sorted(set(run.stdout.splitlines())) if (ROOT / name).is_file()]


def functions(names):
    """(lines, FILE:LINE name) of every function that ctags sees."""
    run = subprocess.run(
        ["ctags", "-L", "-", "--output-format=json", "--fields=+neK", "--map-CUDA=+.cu.cuh",
         "--languages=C++,CUDA,Python", "--kinds-C++=f", "--kinds-CUDA=f", "--kinds-Python=fm",
         "--map-C++=+.h", "-f", "-"],
        cwd=ROOT, check=True, capture_output=True, text=True, input="\n".join(names))
    for tag in map(json.loads, run.stdout.splitlines()):
        if "end" in tag:
            yield tag["end"] - tag["line"] + 1, f"{tag['path']}:{tag['line']} {tag['name']}"


def main():
    names = sources()
    files = sorted((((ROOT / n).read_bytes().count(b"\n"), n) for n in names), reverse=True)
    longest = sorted(functions(names), reverse=True)
    if "--report" in sys.argv[1:]:
        for title, items in (("files", files), ("functions", longest)):
            print(f"longest {title}, lines:")
            print("\n".join(f"  {lines:5} {what}" for lines, what in items[:10]))
    found = [f"{what}: {lines} lines, at most {FILE_LINES}"
             for lines, what in files if lines > FILE_LINES]
    found += [f"{what}: {lines} lines, at most {FUNCTION_LINES}"
              for lines, what in longest if lines > FUNCTION_LINES]
    print("\n".join(found) or f"sizes: {len(files)} files, {len(longest)} functions")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
