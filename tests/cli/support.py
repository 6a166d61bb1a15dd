"""How the tests run the program."""

import json
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = [ROOT / "models/pith-13m-mamba1", ROOT / "models/pith-27m-mamba2"]
SMALL = str(MODELS[0])
TEXT = (
    "It was a dark night on the river, and the old boat moved slowly under the bridge. "
    "The captain of the boat was a tall man who had lived in the town all his life. "
) * 4

program = None  # set by run.py


def run(*args, stdin=None, env=None):
    """Runs `pith args`; strings in and out."""
    return subprocess.run(
        [str(program), *map(str, args)],
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=300,
        env=env,
    )


def wait_until(holds, process=None):
    """However busy the machine is; only what never comes is an error. Kills the process then."""
    deadline = time.monotonic() + 120
    while not holds():
        if time.monotonic() < deadline and (process is None or process.poll() is None):
            time.sleep(0.01)
            continue
        if process is not None:
            process.kill()
            raise AssertionError(("waited in vain", process.communicate()))
        raise AssertionError("waited in vain")


def catches_interrupts(process):
    """Whether Ctrl-C would be caught now: before that it ends a program as ever."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGINT - 1) & 1)


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def json(self, *args, stdin=None):
        """The one JSON value of a successful run."""
        done = run(*args, stdin=stdin)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def fails(self, code, *args, stdin=None, names=()):
        """Expects an exit code, an empty standard output, one error message with all `names`."""
        done = run(*args, stdin=stdin)
        self.assertEqual(done.returncode, code, (args, done.stderr))
        self.assertEqual(done.stdout, "")
        self.assertTrue(done.stderr.startswith("pith: error: "), done.stderr)
        for name in names:
            self.assertIn(str(name), done.stderr)
        return done.stderr
