"""pith reproduce: resuming, the files it writes, missing models, the command lines it refuses."""

import json

from support import ROOT, SMALL, Case, run

DATA = ("--data", ROOT / "data")
# One thread: tiny batches are not worth more, and it gives the same numbers.
RUN = ("reproduce", "table6", "--model", SMALL, "--limit", "1", "--threads", "1", *DATA)


class Reproduce(Case):
    def test_tables_files_and_resume(self):
        out = self.folder / "out"
        page = self.folder / "page.html"
        done = run(*RUN, "--output", out, "--html", page)
        self.assertEqual(done.returncode, 0, done.stderr)
        # Dense and three times (LTMP, UTRC), six tasks; in the other mode UTRC stands twice.
        self.assertIn(f"scored {(7 + 10) * 6} items", done.stderr)
        for text in ("mode context", "mode published-tail", "| 55.00", "another model"):
            self.assertIn(text, done.stdout)
        journal = out / "pith-13m-mamba1/context.jsonl"
        self.assertEqual(journal.read_bytes().count(b"\n"), 1 + 7 * 6)
        self.assertTrue((out / "pith-13m-mamba1/published-tail-limit1.jsonl").exists())
        html = page.read_text()
        self.assertIn("<svg", html)
        self.assertIn("LTMP", html)

        results = json.loads((out / "results.json").read_text())
        self.assertEqual([(t["table"], t["scoring"]) for t in results["tables"]],
                         [("table6", "context"), ("table6", "published-tail")])
        rows = {row["method"]: row for row in results["tables"][0]["rows"]}
        ltmp = rows["ltmp@10%:sites=5+7+9+11+13+15"]
        self.assertEqual(ltmp["figures"]["lambada_ppl"]["paper"], 55.0)
        self.assertGreater(ltmp["realised"], 0)
        accuracies = [f["value"] for k, f in ltmp["figures"].items()
                      if k not in ("lambada_ppl", "avg")]
        self.assertAlmostEqual(sum(accuracies) / 6, ltmp["figures"]["avg"]["value"])

        # A journal cut in its middle: the rest is scored again, the figures are the same.
        lines = journal.read_bytes().splitlines(keepends=True)
        journal.write_bytes(b"".join(lines[:20]))
        again = run(*RUN, "--output", out)
        self.assertIn(f"scored {len(lines) - 20} items", again.stderr)
        self.assertEqual(again.stdout, done.stdout)

    def test_missing_models(self):
        message = self.fails(3, "reproduce", "table2", "--models", self.folder, *DATA,
                             names=["mamba-1.4b", "mamba-2.8b", "state-spaces", "gpt-neox-20b"])
        self.assertNotIn("mamba2", message)
        plan = run("reproduce", "table2", "--models", self.folder, "--dry-run", "--limit", "5",
                   *DATA)
        self.assertEqual(plan.returncode, 0, plan.stderr)
        self.assertIn("missing", plan.stdout)
        self.assertIn("Hugging Face", plan.stderr)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_dry_run(self):
        plans = self.json("reproduce", "table1", "table2", "--model", SMALL, "--dry-run",
                          "--limit", "5", "--json", *DATA)["plans"]
        self.assertEqual([(p["tables"], p["items"], p["reductions"]) for p in plans],
                         [(["table2"], 30, 16)] * 2)
        self.assertGreater(plans[1]["tokens"], plans[0]["tokens"])

    def test_refused(self):
        self.fails(2, "reproduce", "table1", "--model", SMALL, *DATA, names=["table1", "Mamba-1"])
        self.fails(2, "reproduce", "table7", "--model", SMALL, *DATA, names=["table7"])
        self.fails(2, "reproduce", "table1", *DATA, names=["--models", "--model"])
        self.fails(3, "reproduce", "table1", "--model", SMALL, "--data", self.folder,
                   names=["tables.json"])


FIGURES = ("reproduce", "figures", "--threads", "2", "--prompt", "64", "--batch", "2", "--decode",
           "2", "--memory-batch", "3", "--repeats", "1", *DATA)


class Figures(Case):
    def test_files_and_resume(self):
        out = self.folder / "out"
        page = self.folder / "page.html"
        done = run(*FIGURES, "--model", SMALL, "--output", out, "--html", page)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("measured 1 model", done.stderr)
        for text in ("pith-13m-mamba1", "utrc@30%", "× dense", "peak MiB", "tokens/s"):
            self.assertIn(text, done.stdout)
        found = json.loads((out / "figures.json").read_text())
        self.assertEqual((found["format"], found["run"]["memory_batch"]), ("pith figures 1", 3))
        (model,) = found["models"]
        rows = model["rows"]
        self.assertEqual([r["wanted"] for r in rows], [0, 0.1, 0.2, 0.3])
        self.assertEqual((rows[0]["throughput_ratio"], rows[0]["memory_ratio"]), (1, 1))
        for row in rows:
            self.assertIsNone(row["paper_throughput_ratio"])  # the paper has no such model
            self.assertGreater(row["throughput_ratio"], 0)
            plan = self.json("plan", "--model", SMALL, "--length", "64", "--reduce", row["reduce"],
                             "--json")
            self.assertAlmostEqual(row["realised"], plan["realised"])
        self.assertEqual((out / "figures.csv").read_text().count("\n"), 5)
        html = page.read_text()
        self.assertEqual(html.count('<svg class="plot"'), 2)
        self.assertIn("none for pith-13m-mamba1", html)

        again = run(*FIGURES, "--model", SMALL, "--output", out)
        self.assertEqual(again.stdout, done.stdout)
        self.assertIn("measured 0 models", again.stderr)
        self.fails(2, *FIGURES, "--model", SMALL, "--output", out, "--dtype", "bf16",
                   names=["figures.json: dtype", "--fresh"])
        (out / "figures.json").write_text("{")
        self.fails(3, *FIGURES, "--model", SMALL, "--output", out, names=["figures.json"])

    def test_dry_run(self):
        plans = self.json(*FIGURES, "--dry-run", "--json", "--output", self.folder)["plans"]
        self.assertEqual([p["model"] for p in plans],
                         ["mamba2-1.3b", "mamba2-2.7b", "mamba-1.4b", "mamba-2.8b"])
        self.assertEqual(plans[0]["tokens"], 4 * (2 * 3 * 64 + 2 * 2 * (64 + 2)))
        (plan,) = self.json(*FIGURES, "--shapes", "mamba-130m", "--dry-run", "--json")["plans"]
        self.assertEqual((plan["model"], plan["done"]), ("mamba-130m", False))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_refused(self):
        self.fails(2, "reproduce", "figures", "table1", *DATA, names=["figures alone"])
        self.fails(2, "reproduce", "figures", "--models", self.folder, *DATA, names=["--shapes"])
        self.fails(2, "reproduce", "table1", "--shapes", "mamba-130m", *DATA, names=["--shapes"])
        self.fails(2, "reproduce", "figures", "--shapes", "mamba-131m", *DATA,
                   names=["mamba-131m", "mamba-130m"])
        self.fails(2, "reproduce", "figures", "--methods", "utcr", *DATA, names=["utcr"])
        self.fails(2, *FIGURES, "--model", SMALL, "--model", SMALL, names=["twice"])
        self.fails(3, *FIGURES, "--model", self.folder, names=["config.json"])
