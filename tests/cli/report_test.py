"""The page of results: whole, well-formed, self-contained, and with every row that the JSON has."""

import json
import xml.etree.ElementTree as xml

from support import ROOT, SMALL, Case, run

EVAL = ("eval", "--model", SMALL, "--data", ROOT / "data", "--limit", "4", "--quiet", "--bos")


class Report(Case):
    def page(self, path):
        text = path.read_text(encoding="utf-8")
        for outside in ("http", "url(", "<script", "<link", "<img"):
            self.assertNotIn(outside, text)
        return xml.fromstring(text.removeprefix("<!DOCTYPE html>\n"))

    def test_eval(self):
        page = self.folder / "page.html"
        done = run(*EVAL, "--tasks", "piqa,winogrande", "--methods", "none,utrc@10%,utrc@20%",
                   "--output", self.folder / "out dir", "--html", page)
        self.assertEqual(done.returncode, 0, done.stderr)
        tree = self.page(page)
        self.assertEqual([h.text for h in tree.iter("h2")], ["Mean accuracy", "piqa", "winogrande"])
        self.assertEqual(len([t for t in tree.iter("tr")]), 3 * 4)
        rows = json.loads((self.folder / "out dir/results.json").read_text())["rows"]
        cells = [cell.text for cell in tree.iter("td")]
        for row in rows:
            self.assertIn(row["method"], cells)
        # One marker a point that is not dense, besides those of the legends.
        titles = [t.text for t in tree.iter("title")][1:]
        self.assertEqual(len(titles), 3 * 2)
        self.assertIn("--html", "".join(tree.find(".//footer").itertext()))
        self.assertIn("'", "".join(tree.find(".//footer").itertext()))  # 'out dir' is quoted

    def test_bad_place_costs_no_work(self):
        (self.folder / "file").write_text("no directory")
        self.fails(3, *EVAL, "--tasks", "piqa", "--output", self.folder,
                   "--html", self.folder / "file/page.html", names=["file"])
        self.assertFalse((self.folder / "journal.jsonl").exists())

    def test_inspect_shows_whole_characters(self):
        text = "The old boat ĭ ⸺ 🛶 moved slowly under the bridge. " * 3
        report = self.json("inspect", "--model", SMALL, "--text", text, "--json",
                           "--reduce", "utrc@20%")
        self.assertEqual("".join(token["text"] for token in report["fates"]), text)
        self.assertIn("", [token["text"] for token in report["fates"]])
        self.assertNotIn("far_writes", report)
        done = run("inspect", "--model", SMALL, "--text", text, "--reduce", "utrc@20%")
        self.assertIn("🛶", done.stdout)
        self.assertNotIn("\\x", done.stdout)

    def test_inspect_gives_skims_writes(self):
        report = self.json("inspect", "--model", SMALL.replace("13m-mamba1", "27m-mamba2"),
                           "--text", "The old boat moved slowly under the bridge. " * 20, "--json",
                           "--reduce", "skim:full=0-11,chunk=16,window=64")
        writes = report["far_writes"]
        self.assertEqual([len(layer) for layer in writes[:12]], [0] * 12)
        far = sum(token["fate"] == "far" for token in report["fates"])
        self.assertGreater(far, 0)
        for layer in writes[12:]:
            for head in layer:
                self.assertEqual(len(head), -(-far // 16))
                self.assertEqual(set(head) - {"0", "1"}, set())
