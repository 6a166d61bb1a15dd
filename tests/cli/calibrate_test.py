"""pith calibrate: the file it writes and who accepts it, resume, thresholds of ltmp, refusals."""

import json
import unittest

import support
from support import ROOT, SMALL, TEXT, Case, run

# Small windows, and bounds that are wide or that nothing meets.
BASE = ("calibrate", "--model", SMALL, "--data", ROOT / "data", "--context", "64", "--tail", "16",
        "--windows", "4", "--no-recall")


class Calibrate(Case):
    def setUp(self):
        super().setUp()
        self.file = self.folder / "deep" / "chosen.reduce"

    def test_the_file_is_accepted_by_every_verb(self):
        result = self.json(*BASE, "--budget", "dNLL=.5", "--output", self.file, "--json", "--html",
                           self.folder / "page.html")
        chosen = result["chosen"]
        self.assertTrue(chosen.startswith("skim:"))
        self.assertIn(chosen, [t["reduce"] for t in result["trials"] if t["within_budget"]])
        within = [t["realised"] for t in result["trials"] if t["within_budget"]]
        self.assertEqual(result["chosen_on"]["realised"], max(within))
        held = result["held_out"]["nll_difference"]
        self.assertEqual(result["held_out_within_budget"],
                         held["value"] + held["standard_error"] <= .5)
        self.assertEqual(held["n"], 2)
        self.assertIsNone(result["held_out"]["recall_loss"])
        lines = self.file.read_text().splitlines()
        self.assertEqual(lines[-1], chosen)
        self.assertTrue(all(line.startswith("# ") for line in lines[:-1]))
        self.assertIn("# recall: not measured", lines)
        page = (self.folder / "page.html").read_text()
        for part in (chosen, SMALL, "Device cpu", "Command: ", "--budget"):
            self.assertIn(part, page)

        model, reduce = ("--model", SMALL), ("--reduce", f"@{self.file}")
        plan = self.json("plan", *model, *reduce, "--length", "64", "--json")
        self.assertEqual(plan["reduce"], chosen)
        self.assertGreater(plan["realised"], 0)
        for verb in (("generate", "--prompt", TEXT, "--max-tokens", "1", "--greedy"),
                     ("score", "--context", TEXT, "--continuation", " the"),
                     ("inspect", "--text", TEXT)):
            named = self.json(*verb, *model, *reduce, "--json")
            written = self.json(*verb, *model, "--reduce", chosen, "--json")
            for value in (named, written):
                value.pop("prefill_seconds", None)
                value.pop("decode_seconds", None)
            self.assertEqual(named, written)
        rows = self.json("eval", *model, "--data", ROOT / "data", "--tasks", "piqa", "--limit", "2",
                         "--methods", f"none,@{self.file}", "--output", self.folder / "eval",
                         "--json")["rows"]
        self.assertEqual([row["method"] for row in rows], ["none", chosen])

    def test_scores_nothing_twice(self):
        first = self.json(*BASE, "--output", self.file, "--json")
        journal = self.file.with_name(self.file.name + ".journal.jsonl")
        content = journal.read_bytes()
        # Cut after some items, as a crash would.
        cut = content.index(b"\n", len(content) // 2) + 1
        journal.write_bytes(content[:cut])
        self.assertEqual(self.json(*BASE, "--output", self.file, "--json"), first)
        self.assertTrue(journal.read_bytes().startswith(content[:cut]))
        content = journal.read_bytes()
        again = self.json(*BASE, "--output", self.file, "--json", "--sigmas", "0")
        self.assertEqual(again["budget"]["sigmas"], 0)
        self.assertTrue(journal.read_bytes().startswith(content))
        self.fails(2, *BASE, "--output", self.file, "--dtype", "bf16",
                   names=["dtype", "--fresh", "--output FILE"])

    def test_a_bound_that_little_meets(self):
        # Skimming in the last layer alone costs next to nothing, so that something may be left.
        result = self.json(*BASE, "--budget", "dNLL=1e-4", "--sigmas", "10", "--json",
                           "--output", self.file)
        loss = result["chosen_on"]["nll_difference"]
        self.assertLessEqual(loss["value"] + 10 * loss["standard_error"], 1e-4)
        self.assertEqual(self.file.read_text().splitlines()[-1], result["chosen"])

    def test_recall(self):
        items = self.write("items.jsonl", "".join(json.dumps(
            {"context": f"{TEXT}The passkey of Bavodi is {n}. {TEXT}\n\n", "questions": [
                {"prompt": "The passkey of Bavodi is", "answer": f" {n}", "depth": .5}]}) + "\n"
            for n in range(4)))
        args = [a for a in BASE if a != "--no-recall"] + ["--contexts", "4"]
        result = self.json(*args, "--recall", items, "--output", self.file, "--json",
                           "--budget", "dNLL=9,recall=1")
        self.assertIn(str(items), result["recall"])
        self.assertEqual(result["chosen_on"]["recall_loss"]["n"], 2)
        # Also where no answer changes: one answer token's share at least.
        self.assertGreater(result["chosen_on"]["recall_loss"]["standard_error"], 0)

    def test_recall_without_data(self):
        args = ["calibrate", "--model", SMALL, "--data", self.folder, "--context", "64", "--tail",
                "16", "--windows", "4", "--text", self.write("text.txt", TEXT * 20), "--output",
                self.file]
        self.fails(2, *args, "--budget", "recall=.1", names=["--budget", "recall", self.folder])
        self.fails(2, *args, "--no-recall", "--budget", "dNLL=9,recall=.1",
                   names=["--budget", "--no-recall"])
        self.assertFalse(self.file.exists())
        done = run(*args, "--budget", "dNLL=9", "--quiet")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("recall: not measured", done.stderr)
        self.assertIn("# recall: not measured\n", self.file.read_text())

    def test_windows_that_overlap(self):
        args = [*BASE, "--budget", "dNLL=9", "--output", self.file, "--text"]
        args[args.index("--windows") + 1] = "64"
        result = self.json(*args, self.write("text.txt", TEXT * 2), "--json")
        chosen_on, held_out = (result[half]["nll_difference"]["n"]
                               for half in ("chosen_on", "held_out"))
        # 79 tokens at steps of 16: four more begin within the last one of the first half.
        self.assertIn("; 4 more overlap", result["text"])
        self.assertIn(held_out + 4, (chosen_on, chosen_on - 1))
        self.assertIn("; 4 more overlap", self.file.read_text())
        self.fails(2, *args, self.write("short.txt", TEXT),
                   names=["short.txt", "overlap", "longer text"])

    def test_sites_of_a_method(self):
        result = self.json(*BASE, "--method", "utrc@10%", "--budget", "dNLL=9", "--json",
                           "--output", self.file)
        self.assertTrue(result["chosen"].startswith("utrc@10%:sites="))
        self.assertEqual(self.file.read_text().splitlines()[-1], result["chosen"])
        sites = [layer["layer"] for layer in result["chosen_layers"]]
        self.assertEqual(result["chosen"], "utrc@10%:sites=" + "+".join(map(str, sites)))
        self.assertEqual({layer["role"] for layer in result["chosen_layers"]}, {"site"})
        self.assertIn("# sites: ", self.file.read_text())

    def test_thresholds(self):
        file = self.folder / "thresholds.json"
        args = (*BASE[:-1], "--method", "ltmp@20%:protect=6", "--output", file)
        reduce = self.json(*args, "--json")["reduce"]
        self.assertEqual(json.loads(file.read_text())["protect"], 6)
        self.assertEqual(run(*args).stdout.strip(), reduce)
        scored = self.json("score", "--model", SMALL, "--context", TEXT, "--continuation", " a",
                           "--reduce", reduce, "--json")
        self.assertGreater(scored["realised"], 0)
        self.fails(2, "score", "--model", SMALL, "--context", TEXT, "--continuation", " a",
                   "--reduce", reduce.replace("protect=6", "protect=5"),
                   names=[file, "protect=6", "protect=5"])

    def test_refused(self):
        out = ("--output", self.file)
        for budget in ("dNLL=0", "dNLL=x", "dnll=1", "recall", "", "dNLL=1,", "dNLL=1,dNLL=2",
                       "dNLL=-1", "dNLL=inf"):
            self.fails(2, *BASE, *out, "--budget", budget, names=["--budget"])
        for sigmas in ("-1", "inf", "nan"):
            self.fails(2, *BASE, *out, "--sigmas", sigmas, names=["--sigmas"])
        for method in ("utrc", "skim@10%", "auto@10%", "none", "utrc:keep=0.9"):
            self.fails(2, *BASE, *out, "--method", method, names=["--method", method, "utrc@20%"])
        self.fails(2, *BASE, *out, "--method", "utrc@10%:sites=1", names=["utrc@10%:sites=1"])
        self.fails(2, *BASE, *out, "--method", "nothing@10%", names=["nothing"])
        ltmp = (*BASE[:-1], "--method", "ltmp@10%")
        self.fails(2, *BASE[:-1], *out, "--method", "ltmp@10%:block=4", names=["block"])
        for option in (["--fresh"], ["--no-recall"], ["--recall", "x"], ["--sigmas", "1"],
                       ["--contexts", "4"], ["--budget", "dNLL=1"], ["--html", "x"]):
            self.fails(2, *ltmp, *out, *option, names=[option[0], "--method ltmp"])
        for name in ("a,b", "a+b", "a b"):
            self.fails(2, *ltmp, "--output", self.folder / name, names=["--output", name])
            self.assertFalse((self.folder / name).exists())
        self.fails(2, *BASE, *out, "--windows", "3", names=["--windows"])
        self.fails(2, *BASE, *out, "--recall", "x", names=["--no-recall"])
        self.fails(2, "calibrate", names=["--model"])
        self.fails(3, *BASE, *out, "--text", self.folder / "gone", names=["gone"])

    def test_auto(self):
        plan = self.json("plan", "--model", support.MODELS[1], "--reduce", "auto@30%", "--length",
                         "2048", "--json")
        self.assertTrue(plan["reduce"].startswith("skim:full=0-"))
        self.fails(2, "plan", "--model", SMALL, "--reduce", "auto", "--length", "9",
                   names=["auto@30%"])
        rows = self.json("eval", "--model", SMALL, "--data", ROOT / "data", "--tasks",
                         "lambada_openai", "--limit", "2", "--methods", "auto@1%", "--output", self.folder / "eval",
                         "--json")["rows"]
        self.assertEqual(rows[0]["method"], "auto@1%")
        self.assertGreater(rows[0]["realised"], 0.01)


if __name__ == "__main__":
    unittest.main()
