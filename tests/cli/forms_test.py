"""The fixed forms that scripts build on, and that every way to give a text means the same."""

import json
import math

from support import MODELS, SMALL, TEXT, Case, run

SITES = "5,7,9,11,13,15"


class Forms(Case):
    def test_generate(self):
        prompt = self.write("p.txt", TEXT)
        for model in MODELS:
            got = self.json("generate", "--model", model, "--prompt-file", prompt, "--max-tokens",
                            "8", "--greedy", "--json")
            self.assertEqual(len(got["ids"]), 8)
            self.assertIsInstance(got["text"], str)
            self.assertEqual(got["finish"], "length")
            self.assertEqual(got["realised"], 0)
            self.assertEqual(got["rows_left"], got["prompt_tokens"])
            self.assertEqual(got["end_of_text"], {"id": 0, "source": "tokenizer.json"})
            decoded = self.json("tokenize", "--model", model, "--decode", "--json", "--text",
                                json.dumps(got["ids"]))
            self.assertEqual(decoded["text"], got["text"])

    def test_generate_reduced(self):
        prompt = self.write("p.txt", TEXT)
        got = self.json("generate", "--model", SMALL, "--prompt-file", prompt, "--max-tokens", "4",
                        "--greedy", "--reduce", "utrc@20%", "--sites", SITES, "--json")
        self.assertLess(got["rows_left"], got["prompt_tokens"])
        # Six sites of whole rows: one row fewer at the first of them is worth less than this.
        self.assertAlmostEqual(got["realised"], 0.2, delta=1 / got["prompt_tokens"])

    def test_human_text_is_json_text(self):
        options = ("--model", SMALL, "--prompt", TEXT, "--max-tokens", "16", "--greedy")
        plain = run("generate", *options)
        self.assertEqual(plain.returncode, 0, plain.stderr)
        self.assertEqual(plain.stdout, self.json("generate", *options, "--json")["text"] + "\n")
        self.assertIn("tok/s", plain.stderr)
        quiet = run("generate", *options, "--quiet")
        self.assertEqual((quiet.stdout, quiet.stderr), (plain.stdout, ""))

    def test_score(self):
        c = self.write("c.txt", TEXT + "The captain ")
        d = self.write("d.txt", "of the boat")
        for model in MODELS:
            options = ("score", "--model", model, "--context-file", c, "--continuation-file", d)
            got = self.json(*options, "--json")
            self.assertLess(got["logprob"], 0)
            self.assertGreaterEqual(got["tokens"], 1)
            self.assertIsInstance(got["greedy"], bool)
            self.assertEqual(got["realised"], 0)
            ids = self.json("tokenize", "--model", model, "--json", "--text", TEXT + "The captain")
            self.assertEqual(got["context_tokens"], len(ids["ids"]))  # the blank moved over
            reduced = self.json(*options, "--reduce", "utrc@20%", "--sites", SITES, "--json")
            self.assertAlmostEqual(reduced["realised"], 0.2, delta=1 / got["context_tokens"])
            self.assertEqual(reduced["tokens"], got["tokens"])

    def test_score_logprobs_add_up(self):
        got = self.json("score", "--model", SMALL, "--context", "The cat sat on", "--continuation",
                        " the mat by the door", "--logprobs", "--json")
        listed = got["token_logprobs"]
        self.assertEqual(len(listed), got["tokens"])
        self.assertEqual("".join(t["text"] for t in listed), " the mat by the door")
        # Sums of a few doubles, printed in full.
        self.assertAlmostEqual(sum(t["logprob"] for t in listed), got["logprob"], places=9)
        for token in listed:
            self.assertLessEqual(token["logprob"], token["top"]["logprob"])
            if token["id"] == token["top"]["id"]:
                self.assertEqual(token["logprob"], token["top"]["logprob"])

    def test_plan(self):
        got = self.json("plan", "--model", SMALL, "--length", "2048", "--reduce", "utrc@30%",
                        "--json")
        self.assertEqual([s["layer"] for s in got["sites"]], [5, 7, 9, 11, 13, 15])
        rows = 2048
        for site in got["sites"]:
            self.assertEqual(site["in"], rows)
            self.assertLess(site["out"], rows)
            rows = site["out"]
        # Mean rows over the 24 layers, as the sites' layers run before their rows are removed.
        per_layer, left = [], 2048
        removed = {s["layer"]: s["out"] for s in got["sites"]}
        for layer in range(24):
            per_layer.append(left)
            left = removed.get(layer, left)
        self.assertAlmostEqual(got["realised"], 1 - sum(per_layer) / (24 * 2048), places=12)
        self.assertLess(abs(got["realised"] - 0.3), 1e-3)

    def test_plan_list(self):
        names = [m["name"] for m in self.json("plan", "--list", "--json")["methods"]]
        for name in ("none", "utrc", "truncate", "prefix-drop", "prefix-thin", "random", "stride"):
            self.assertIn(name, names)
        lines = run("plan", "--list").stdout.splitlines()
        self.assertEqual([line for line in lines if not line.startswith(" ")], names)

    def test_tokenize(self):
        file = self.write("t.txt", "Hello, wörld\n\n  next")
        got = self.json("tokenize", "--tokenizer", f"{SMALL}/tokenizer.json", "--file", file,
                        "--json")
        self.assertEqual(got["tokens"], len(got["ids"]))
        back = self.json("tokenize", "--model", SMALL, "--decode", "--file", "-", "--json",
                         stdin=" ".join(map(str, got["ids"])))
        self.assertEqual(back["text"], "Hello, wörld\n\n  next")

    def test_perplexity(self):
        file = self.write("t.txt", TEXT)
        ids = self.json("tokenize", "--model", SMALL, "--file", file, "--json")["ids"]
        got = self.json("perplexity", "--model", SMALL, "--file", file, "--json")
        self.assertEqual(got["tokens"], len(ids) - 1)
        self.assertAlmostEqual(got["ppl"], math.exp(got["nll"]), delta=1e-9 * got["ppl"])
        bos = self.json("perplexity", "--model", SMALL, "--file", file, "--bos", "--json")
        self.assertEqual(bos["tokens"], len(ids))

    def test_inspect(self):
        got = self.json("inspect", "--model", SMALL, "--text", TEXT, "--reduce", "utrc@20%",
                        "--json")
        fates = got["fates"]
        self.assertEqual(len(fates), got["tokens"])
        self.assertEqual("".join(f["text"] for f in fates), TEXT)
        for site in got["sites"]:
            gone = [f for f in fates if f.get("site") == site["layer"]]
            self.assertEqual(len(gone), site["in"] - site["out"])
        kept = sum(f["fate"] == "kept" for f in fates)
        self.assertEqual(kept, got["sites"][-1]["out"])
        for fate in fates:
            if fate["fate"] == "merged":
                self.assertTrue(fate["hidden"] or fate["residual"])
                self.assertLess(fate["into"], len(fates))
        one = self.json("inspect", "--model", SMALL, "--text", TEXT, "--reduce", "utrc@20%",
                        "--site", "7", "--json")
        site = next(s for s in got["sites"] if s["layer"] == 7)
        self.assertEqual(len(one["fates"]), site["in"])
        self.assertEqual(sum(f["fate"] == "kept" for f in one["fates"]), site["out"])

    def test_info_and_version(self):
        got = self.json("info", "--model", SMALL, "--json")
        self.assertEqual((got["kind"], got["n_layer"], got["d_model"]), ("mamba1", 24, 256))
        self.assertEqual(got["end_of_text"], {"id": 0, "source": "tokenizer.json"})
        self.assertGreater(got["parameters"], 12_000_000)
        version = run("--version")
        self.assertEqual(version.returncode, 0)
        self.assertIn("pith", version.stdout)

    def test_ways_to_give_a_text(self):
        text = "  --It's [a, b] {} \"text\"\nof 'two' lines \\ "
        file = self.write("t.txt", text)
        base = ("tokenize", "--model", SMALL, "--json")
        ids = self.json(*base, "--file", file)
        self.assertEqual(self.json(*base, "--file", "-", stdin=text), ids)
        self.assertEqual(self.json(*base, "--text", text), ids)
        self.assertEqual(self.json(*base, "--text", text.strip())["tokens"] > 0, True)
        for odd in ("[a,b]", "{}", "-", "--", "--json", "%%", "'q'"):
            decoded = self.json("tokenize", "--model", SMALL, "--decode", "--json", "--text",
                                json.dumps(self.json(*base, "--text", odd)["ids"]))
            self.assertEqual(decoded["text"], odd)
        self.assertEqual(self.json(*base, "--text", "")["ids"], [])

    def test_invalid_utf8_survives(self):
        file = self.write("t.bin", b"good \xff\xfe bad")
        # A token that holds part of a character is not UTF-8 by itself; JSON is, all the same.
        got = self.json("score", "--model", SMALL, "--context", "a", "--continuation-file", file,
                        "--logprobs", "--json")
        self.assertEqual(len(got["token_logprobs"]), got["tokens"])
        self.assertIn("\ufffd", "".join(t["text"] for t in got["token_logprobs"]))

    def test_seed(self):
        def text(*options):
            return self.json("generate", "--model", SMALL, "--prompt", "The", "--max-tokens", "24",
                             "--json", *options)["ids"]

        self.assertEqual(text("--seed", "3"), text("--seed", "3"))
        self.assertNotEqual(text("--seed", "3"), text("--seed", "4"))
        plans = ("inspect", "--model", SMALL, "--text", TEXT, "--json", "--reduce")
        by_key = self.json(*plans, "random@20%:seed=3")
        self.assertEqual(self.json(*plans, "random@20%", "--seed", "3"), by_key)
        self.assertEqual(self.json(*plans, "random@20%:seed=3", "--seed", "4"), by_key)
        self.assertNotEqual(self.json(*plans, "random@20%", "--seed", "4"), by_key)

    def test_reduction_from_a_file(self):
        file = self.write("r.txt", "stride@20%\n")
        plan = ("plan", "--model", SMALL, "--length", "500", "--json", "--reduce")
        self.assertEqual(self.json(*plan, f"@{file}"), self.json(*plan, "stride@20%"))

    def test_stop(self):
        options = ("generate", "--model", SMALL, "--prompt", TEXT, "--greedy", "--max-tokens",
                   "32", "--json")
        text = self.json(*options)["text"]
        cut = text[len(text) // 2:len(text) // 2 + 4]
        got = self.json(*options, "--stop", "never here", "--stop", cut)
        self.assertEqual((got["text"], got["finish"]), (text[:text.index(cut)], "stop"))
