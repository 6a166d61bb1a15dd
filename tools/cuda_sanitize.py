#!/usr/bin/env python3
"""Runs test programs under a tool of NVIDIA's compute-sanitizer, each test in a process of its own.

    cuda_sanitize.py build/cuda/tests/ops_test build/cuda/tests/model_test
    cuda_sanitize.py --tool memcheck --gpus 2 --jobs 5 --seconds 120 --filter 'SkimLaws*' build/cuda/tests/model_test

A test under racecheck takes up to some hundred times as long as without it, so results are kept in
OUT/TOOL.json as they come. A later call goes on with what is not through, which may then get more
time; it begins anew where the program, --launches or --kernels is another. Ctrl-C ends it without
loss.

What becomes of a test:
    clean    it passed, and the tool reported nothing
    report   the tool reported an error; OUT/logs has what it said
    failed   the tool reported nothing, but the test failed
    skipped  it used no GPU, or said that it does not run on this one
    tool     the tool failed by itself
    late     it was ended after --seconds; "so far" tells whether anything was reported before

The exit code is 0 if all tests are clean or skipped, 1 if some are not, and 2 for a wrong argument.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

REPORT_CODE = 86  # what the tool exits with where it reported something
DONE = ("clean", "skipped")
# The tool waits at this port and at some tens of the following ones for the process that it looks at.
FIRST_PORT, PORTS = 49152, 40


def list_tests(program, pattern):
    listing = subprocess.run([program, "--gtest_list_tests", f"--gtest_filter={pattern}"], check=True,
                             capture_output=True, text=True).stdout
    suite = ""
    for line in listing.splitlines():
        name = line.split("#")[0].strip()
        if line.startswith(" ") and suite:
            yield suite + name
        elif name.endswith("."):
            suite = name


def judge(code, text, seconds):
    """The result of a test that ended with `code`, or that was ended: None."""
    reports = len(re.findall(r"^=+ *(?:Error: |Warning: )?(?:Race reported|Invalid |Internal API|Uninit)", text,
                             re.MULTILINE))
    summary = re.search(r"(?:RACECHECK|ERROR) SUMMARY: (\d+)", text)
    reports = max(reports, int(summary[1]) if summary else 0)
    result = {"seconds": round(seconds, 1), "reports": reports}
    if code is None:
        return {**result, "became": "late"}
    if "Internal Sanitizer Error" in text:
        return {**result, "became": "tool"}
    if code == REPORT_CODE or reports:
        return {**result, "became": "report"}
    if code != 0:
        return {**result, "became": "failed"}
    if "before first instrumented API call" in text:  # it used no GPU
        return {**result, "became": "skipped"}
    if not summary:
        return {**result, "became": "tool"}
    return {**result, "became": "skipped" if "[  SKIPPED ]" in text else "clean"}


class Runs:
    """All results, kept in a file, and what runs at the moment."""

    def __init__(self, options):
        self.options = options
        self.file = options.out / f"{options.tool}.json"
        self.results = json.loads(self.file.read_text()) if self.file.exists() else {}
        self.end = time.monotonic() + options.total_seconds if options.total_seconds else None
        self.places = queue.SimpleQueue()  # a GPU and a number for each process at a time
        for place in range(options.gpus * options.jobs):
            self.places.put(place)
        self.lock = threading.Lock()
        self.stopping = False
        self.processes = set()

    def looks_at(self, program):
        """What a result was made of: another one says nothing of it."""
        return [program.stat().st_mtime, self.options.launches, self.options.kernels]

    def of(self, program, test):
        """What is known of a test."""
        result = self.results.get(f"{program.name}:{test}")
        known = result is not None and result["looks_at"] == self.looks_at(program)
        return result if known else {"became": "not begun", "seconds": 0}

    def keep(self, key, result, text):
        log = self.options.out / "logs" / (re.sub(r"[^\w.-]", "_", key) + ".txt")
        if result["became"] in DONE:
            log.unlink(missing_ok=True)
        else:
            log.write_text(text)
        with self.lock:
            self.results[key] = result
            new = self.file.with_suffix(".new")
            new.write_text(json.dumps(self.results, indent=1, sort_keys=True))
            new.replace(self.file)
            print(f"{result['became']:8}{result['seconds']:7.1f} s  {key}", flush=True)

    def command(self, program, test, place):
        options = self.options
        command = [options.sanitizer, "--tool", options.tool, "--error-exitcode", str(REPORT_CODE),
                   "--port", str(FIRST_PORT + PORTS * place)]
        if options.launches:
            command += ["--launch-count", str(options.launches)]
        if options.kernels:
            command += ["--kernel-name", "kernel_substring=" + options.kernels]
        return [*command, str(program), "--device", "cuda", f"--gtest_filter={test}"]

    def run(self, program, test):
        place = self.places.get()
        try:
            left = self.end - time.monotonic() if self.end else self.options.seconds
            if left <= 0:
                return
            start = time.monotonic()
            with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile("w+") as output:
                with self.lock:
                    if self.stopping:
                        return
                    process = subprocess.Popen(
                        self.command(program, test, place), stdin=subprocess.DEVNULL, stdout=output,
                        stderr=subprocess.STDOUT, start_new_session=True,
                        env={**os.environ, "CUDA_VISIBLE_DEVICES": self.gpu(place),
                             "TEST_TMPDIR": directory})
                    self.processes.add(process)
                try:
                    code = process.wait(min(self.options.seconds, left))
                except subprocess.TimeoutExpired:
                    code = None
                    end(process)
                with self.lock:
                    self.processes.discard(process)
                    if self.stopping or (code is None and left < self.options.seconds):
                        return  # ended before its time, which says nothing
                output.seek(0)
                text = output.read()
            result = {**judge(code, text, time.monotonic() - start), "looks_at": self.looks_at(program)}
            self.keep(f"{program.name}:{test}", result, text)
        finally:
            self.places.put(place)

    def gpu(self, place):
        shown = os.environ.get("CUDA_VISIBLE_DEVICES")
        number = place % self.options.gpus
        return shown.split(",")[number] if shown else str(number)

    def stop(self):
        with self.lock:
            self.stopping = True
            for process in self.processes:
                end(process)


def end(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run_all(options):
    (options.out / "logs").mkdir(parents=True, exist_ok=True)
    runs = Runs(options)
    tests = [(program, test) for program in options.programs
             for test in list_tests(program, options.filter)]
    left = [test for test in tests if runs.of(*test)["became"] not in DONE]
    # Those that took long before come last, so that little time finishes many.
    left.sort(key=lambda test: runs.of(*test)["seconds"])
    with concurrent.futures.ThreadPoolExecutor(options.gpus * options.jobs) as pool:
        futures = [pool.submit(runs.run, *test) for test in left]
        try:
            for future in futures:
                future.result()
        except KeyboardInterrupt:
            runs.stop()
            print("Stopped. What was through is kept; the same command goes on.", file=sys.stderr)
    return summarise({f"{program.name}:{test}": runs.of(program, test) for program, test in tests})


def summarise(results):
    table = collections.defaultdict(collections.Counter)
    for key, result in results.items():
        table[key.split(":")[0]][result["became"]] += 1
    columns = ["clean", "skipped", "report", "failed", "tool", "late", "not begun"]
    print(f"\n{'':16}" + "".join(f"{c:>11}" for c in columns))
    for program, counts in sorted(table.items()):
        print(f"{program:16}" + "".join(f"{counts[c]:>11}" for c in columns))
    for key, result in results.items():
        if result["became"] not in (*DONE, "not begun"):
            so_far = "" if result["became"] != "late" else f", {result['reports']} reports so far"
            print(f"{key}: {result['became']} after {result['seconds']} s{so_far}")
    return 0 if all(result["became"] in DONE for result in results.values()) else 1


FAKE_PROGRAM = """#!/bin/sh
case "$*" in
  *list_tests*) printf 'Suite.\\n  Clean\\n  Report\\n  Skipped  # GetParam() = 1\\n  Failed\\n  Tool\\n  Late\\n' ;;
esac
"""
FAKE_SANITIZER = """#!/bin/sh
none='========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)'
case "$*" in
  *Suite.Clean) echo "$none" ;;
  *Suite.Report) echo '========= Error: Race reported between Write access at f'; exit 86 ;;
  *Suite.Skipped) echo '[  SKIPPED ] Suite.Skipped'; echo "$none" ;;
  *Suite.Failed) echo "$none"; exit 1 ;;
  *Suite.Tool) echo '========= Internal Sanitizer Error'; exit 1 ;;
  *Suite.Late) if [ -e late ]; then echo "$none"; else touch late; sleep 60; fi ;;
esac
"""


def self_test():
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        os.chdir(directory)
        for file, text in (("fake_test", FAKE_PROGRAM), ("sanitizer", FAKE_SANITIZER)):
            (directory / file).write_text(text)
            (directory / file).chmod(0o755)
        arguments = ["--sanitizer", "./sanitizer", "--out", "out", "--jobs", "3", "--seconds", "4",
                     str(directory / "fake_test")]
        for late in ("late", "clean"):  # the second call goes on
            assert run_all(parse(arguments)) == 1
            results = json.loads((directory / "out/racecheck.json").read_text())
            got = {key.rsplit(".")[-1].lower(): result["became"] for key, result in results.items()}
            assert got == {**{name: name for name in got}, "late": late}, got
            assert len(got) == 6, got
            logs = {path.stem.rsplit(".")[-1].lower() for path in (directory / "out/logs").iterdir()}
            assert logs == {name for name, became in got.items() if became not in DONE}, logs
        # Another tool, or another look, begins anew.
        for other in (["--tool", "memcheck"], ["--launches", "9"]):
            first = parse([*arguments, *other])
            assert Runs(first).of(directory / "fake_test", "Suite.Clean")["became"] == "not begun"
    print("cuda_sanitize.py: the self-test passed")


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", metavar="PROGRAM", nargs="+", type=lambda p: pathlib.Path(p).resolve(),
                        help="a test program of a build with CUDA")
    parser.add_argument("--tool", choices=("racecheck", "memcheck", "synccheck", "initcheck"),
                        default="racecheck")
    parser.add_argument("--filter", default="*", help="the tests, as GoogleTest's --gtest_filter names them")
    parser.add_argument("--gpus", type=int, default=1, help="how many GPUs to use (default 1)")
    parser.add_argument("--jobs", type=int, default=5, help="tests at a time on each GPU; with many more "
                        "of them each launch waits for all the others (default 5)")
    parser.add_argument("--seconds", type=float, default=150, help="the longest for one test (default 150)")
    parser.add_argument("--total-seconds", type=float, default=0, help="ends the whole after so long")
    parser.add_argument("--launches", type=int, default=0,
                        help="looks at the first so many launches of a test alone (0: all of them)")
    parser.add_argument("--kernels", default="",
                        help="looks at kernels alone whose mangled names have this in them: "
                        "4pith leaves cuBLASLt's out, for tests in f32 (in 16 bits racecheck itself then fails)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/cuda-sanitize"))
    parser.add_argument("--sanitizer", default="compute-sanitizer")
    options = parser.parse_args(arguments)
    for name in ("gpus", "jobs", "seconds"):
        if getattr(options, name) <= 0:
            parser.error(f"--{name}: got {getattr(options, name)}, expected a number above 0")
    for program in options.programs:
        if not os.access(program, os.X_OK):
            parser.error(f"{program}: expected a test program")
    return options


if __name__ == "__main__":
    sys.exit(self_test() if sys.argv[1:] == ["--self-test"] else run_all(parse(sys.argv[1:])))
