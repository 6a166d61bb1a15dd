"""pith eval: an interrupt and what follows, the files it writes, the command lines it refuses."""

import csv
import json
import signal
import subprocess

import support
from support import ROOT, SMALL, Case, run, wait_until

BASE = ("eval", "--model", SMALL, "--data", ROOT / "data", "--bos")
CLOCK = ("context_seconds", "tokens_per_second", "peak_memory_bytes")


def figures(results):
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in results["rows"]]


class Eval(Case):
    def test_interrupt_and_resume(self):
        # Enough items for several groups: an item of lambada_openai has about 80 tokens.
        args = (*BASE, "--tasks", "lambada_openai", "--methods", "none,truncate@20%",
                "--limit", "200")
        folder = self.folder / "stopped"
        journal = folder / "journal.jsonl"
        process = subprocess.Popen([str(support.program), *map(str, args), "--output",
                                    str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 1,
                   process)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 130, errors)
        self.assertEqual(out, b"")
        self.assertIn("goes on from there", errors.decode())
        kept = journal.read_bytes()
        self.assertFalse((folder / "results.json").exists())

        resumed = self.json(*args, "--output", folder, "--json")
        whole = self.json(*args, "--output", self.folder / "whole", "--json")
        self.assertEqual(figures(resumed), figures(whole))
        now = journal.read_bytes()
        self.assertTrue(now.startswith(kept))  # nothing was scored again
        self.assertEqual(now.count(b"\n"), 401)

    def test_files(self):
        args = (*BASE, "--tasks", "piqa", "--limit", "3", "--methods",
                "none,skim:window=16,chunk=16", "--output", self.folder)
        done = run(*args)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("piqa, 3 items, scoring context", done.stdout)
        self.assertIn("scored 6 items", done.stderr)
        results = json.loads((self.folder / "results.json").read_text())
        self.assertEqual([row["method"] for row in results["rows"]],
                         ["none", "skim:chunk=16,window=16"])
        with open(self.folder / "results.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        metrics = [(row, metric) for row in results["rows"] for metric in row["metrics"]]
        self.assertEqual(len(rows), len(metrics))
        for line, (row, metric) in zip(rows, metrics):
            self.assertEqual((line["method"], line["metric"]), (row["method"], metric["metric"]))
            self.assertEqual(float(line["value"]), metric["value"])
            self.assertEqual((line["scoring"], line["wanted"], line["sites"]), ("context", "", ""))
            self.assertEqual(float(line["realised_total"]), row["realised_total"])
            self.assertEqual(int(line["difference_n"]), metric["difference"]["n"])
            self.assertEqual(float(line["difference"]), metric["difference"]["value"])
        again = run(*args)
        self.assertIn("scored 0 items", again.stderr)
        self.assertEqual(again.stdout, done.stdout)
        fresh = run(*args, "--fresh")
        self.assertIn("scored 6 items", fresh.stderr)
        # What cannot be run costs no journal.
        kept = (self.folder / "journal.jsonl").read_bytes()
        self.fails(2, *BASE, "--tasks", "recall", "--limit", "3", "--scoring", "survivors",
                   "--output", self.folder, "--fresh", names=["recall", "survivors"])
        self.assertEqual((self.folder / "journal.jsonl").read_bytes(), kept)

    def test_scoring_modes_say_what_they_scored(self):
        done = run(*BASE, "--tasks", "piqa", "--limit", "4", "--methods",
                   "none,random@30%:protect=1", "--scoring", "survivors", "--output", self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("piqa, 4 items, scoring survivors", done.stdout)
        for column in ("wanted", "left out", "pairs", "coverage"):
            self.assertIn(column, done.stdout)
        self.assertRegex(done.stdout, r"sites [0-9+]+: random@30%:protect=1")
        dense, reduced = json.loads((self.folder / "results.json").read_text())["rows"]
        self.assertEqual((dense["coverage"], dense["wanted"]), (1, None))
        self.assertLess(reduced["coverage"], 1)
        self.assertEqual((reduced["scoring"], reduced["wanted"]), ("survivors", 0.3))

    def test_score_has_the_modes_too(self):
        pair = ("score", "--model", SMALL, "--context", support.TEXT, "--continuation",
                " It was a dark night on the river", "--reduce", "random@30%:protect=1", "--json")
        whole = self.json(*pair)
        survivors = self.json(*pair, "--scoring", "survivors")
        self.assertLess(survivors["tokens"], whole["tokens"])
        self.fails(2, *pair, "--scoring", "tail", names=["published-tail"])

    def test_refused(self):
        args = (*BASE, "--tasks", "piqa", "--limit", "1", "--output", self.folder)
        self.assertEqual(run(*args).returncode, 0)
        self.fails(2, *args, "--dtype", "bf16", names=["journal.jsonl", "dtype", '"f32"'])
        self.fails(2, *BASE, "--tasks", "pika", names=["'pika'", "piqa"])
        self.fails(2, *args, "--methods", "none,ultra@10%", names=["ultra", "utrc"])
        self.fails(2, *args, "--methods", "window=3", names=["window=3"])
        self.fails(2, *args, "--methods", "none,,skim", names=["--methods"])
        self.fails(2, *args, "--scoring", "tail", names=["published-tail"])
        self.fails(2, "eval", names=["--model"])
        self.fails(3, "eval", "--model", SMALL, "--tasks", "piqa", "--data", self.folder,
                   "--output", self.folder / "other", names=["piqa"])

    def test_list(self):
        names = [task["name"] for task in self.json("eval", "--list", "--json")]
        self.assertIn("lambada_openai", names)
        for name in names:
            self.assertIn(name, run("eval", "--list").stdout)
