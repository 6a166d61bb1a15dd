"""pith eval under mpirun: the same figures as one process, a rank that is killed, an interrupt.

Skipped where the build has no MPI or the machine no mpirun.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import unittest

import support
from eval_test import BASE, figures
from support import Case, run, wait_until

# The flags let it run as root and with more ranks than processors, as test machines may want.
MPIRUN = ("mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2")


def why_not():
    if shutil.which("mpirun") is None:
        return "mpirun is not installed"
    if "mpi: none" in run("--version").stdout:
        return "this build has no MPI"
    return None


def ranks_of(process):
    """The ids of mpirun's own children: the ranks, in no order."""
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


class Ranks(Case):
    whole = None  # figures of one process, for `stopped`

    def setUp(self):
        super().setUp()
        reason = why_not()
        if reason:
            print(f"ranks_test: skipped: {reason}", flush=True)
            raise unittest.SkipTest(reason)

    def start(self, *args):
        # Loopback alone: two ranks of one machine need no other network.
        return subprocess.Popen([*MPIRUN, str(support.program), *map(str, args)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env={**os.environ, "OMPI_MCA_btl": "self,vader,tcp",
                                     "OMPI_MCA_btl_tcp_if_include": "lo"})

    def ranks(self, *args):
        process = self.start(*args)
        out, errors = process.communicate(timeout=300)
        return process.returncode, out.decode(), errors.decode()

    def lines(self, folder):
        return sum(path.read_bytes().count(b"\n") for path in folder.glob("journal*.jsonl"))

    def test_same_figures(self):
        args = (*BASE, "--tasks", "lambada_openai,winogrande", "--limit", "12",
                "--methods", "none,utrc@20%")
        code, out, errors = self.ranks(*args, "--output", self.folder / "two", "--json")
        self.assertEqual(code, 0, errors)
        two = json.loads(out)  # rank 0 alone prints
        self.assertEqual(errors.count("on 2 ranks"), 1, errors)
        one = self.json(*args, "--output", self.folder / "one", "--json")
        self.assertEqual(figures(two), figures(one))
        self.assertEqual(json.loads((self.folder / "two/results.json").read_text()), two)
        # 48 items and two fingerprints: nothing was scored twice, and each rank took its half.
        self.assertEqual(self.lines(self.folder / "two"), 50)
        self.assertEqual((self.folder / "two/journal.1.jsonl").read_bytes().count(b"\n"), 25)
        # One process goes on from two, and has nothing to do.
        again = run(*args, "--output", self.folder / "two")
        self.assertIn("scored 0 items", again.stderr)
        fresh = run(*BASE, "--tasks", "piqa", "--limit", "1", "--output", self.folder / "two",
                    "--fresh")
        self.assertIn("scored 1 items", fresh.stderr)
        self.assertFalse((self.folder / "two/journal.1.jsonl").exists())

    def stopped(self, stop):
        """Runs two ranks, calls stop(process) once both have scored something."""
        folder = self.folder / "stopped"
        # Two groups of items a rank: an item of lambada_openai has about 80 tokens.
        args = (*BASE, "--tasks", "lambada_openai", "--limit", "200",
                "--methods", "none,truncate@20%", "--output")
        process = self.start(*args, folder)
        journals = [folder / "journal.jsonl", folder / "journal.1.jsonl"]
        wait_until(lambda: all(j.exists() and j.read_bytes().count(b"\n") > 1 for j in journals),
                   process)
        stop(process)
        out, errors = process.communicate(timeout=120)  # no rank waits for one that is gone
        self.assertNotEqual(process.returncode, 0, errors)
        self.assertEqual(out, b"")
        self.assertFalse((folder / "results.json").exists())
        kept = [journal.read_bytes() for journal in journals]
        self.assertLess(self.lines(folder), 402)

        code, out, errors = self.ranks(*args, folder, "--json")
        self.assertEqual(code, 0, errors)
        if Ranks.whole is None:
            Ranks.whole = figures(self.json(*args, self.folder / "whole", "--json"))
        self.assertEqual(figures(json.loads(out)), Ranks.whole)
        self.assertEqual(self.lines(folder), 402)  # nothing was scored twice
        for journal, before in zip(journals, kept):
            whole_lines = before[:before.rfind(b"\n") + 1]
            self.assertTrue(journal.read_bytes().startswith(whole_lines))

    def test_lost_rank(self):
        self.stopped(lambda process: os.kill(ranks_of(process)[-1], signal.SIGKILL))

    def test_interrupt(self):
        self.stopped(lambda process: process.send_signal(signal.SIGINT))

    def test_error_of_a_rank(self):
        code, out, errors = self.ranks("eval", "--model", support.SMALL, "--tasks", "piqa",
                                       "--data", self.folder, "--output", self.folder)
        self.assertNotEqual(code, 0)
        self.assertEqual(out, "")
        self.assertRegex(errors, r"pith: error: rank [01]: .*piqa")


class Launched(Case):
    def test_without_mpi_it_is_refused(self):
        if "mpi: none" not in run("--version").stdout:
            self.skipTest("this build has MPI")
        env = {**os.environ, "OMPI_COMM_WORLD_SIZE": "2"}
        done = run(*BASE, "--tasks", "piqa", "--limit", "1", "--output", self.folder, env=env)
        self.assertEqual(done.returncode, 3)
        self.assertIn("no MPI", done.stderr)
