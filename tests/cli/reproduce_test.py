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
