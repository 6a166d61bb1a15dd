"""Mistakes: exit codes, messages that name what is wrong, nothing on standard output."""

import json
import os
import pathlib
import subprocess

import support
from support import SMALL, TEXT, Case, run

VERBS = ("generate", "score", "perplexity", "plan", "inspect", "tokenize", "info",
         "bench")


class Errors(Case):
    def test_help(self):
        top = run("--help")
        self.assertEqual(top.returncode, 0)
        self.assertIn("Exit codes", top.stdout)
        for verb in VERBS:
            self.assertIn(f"  {verb} ", top.stdout)
            done = run(verb, "--help")
            self.assertEqual(done.returncode, 0)
            self.assertIn("Examples", done.stdout)
            self.assertIn("--json", done.stdout)
            self.assertEqual(done.stderr, "")

    def test_usage(self):
        self.fails(2, names=["verb"])
        self.fails(2, "frobnicate", names=["frobnicate"])
        self.fails(2, "info", names=["--model"])
        self.fails(2, "info", "--model", SMALL, "--frobnicate", names=["--frobnicate"])
        self.fails(2, "info", "--model", SMALL, "--threads", "-1", names=["--threads"])
        self.fails(2, "info", "--model", SMALL, "--threads", "many", names=["--threads"])
        self.fails(2, "info", "--model", SMALL, "--dtype", "f8", names=["--dtype", "f8"])
        self.fails(2, "info", "--model", SMALL, "--device", "abacus", names=["--device", "abacus"])
        self.fails(2, "perplexity", "--model", SMALL, "--text", "a b", "--device", "cuda:x",
                   names=["cuda:x", "cuda:N"])
        self.fails(3, "perplexity", "--model", SMALL, "--text", "a b", "--device", "cuda:999",
                   names=["cuda"])
        self.fails(2, "generate", "--model", SMALL, names=["--prompt"])
        self.fails(2, "generate", "--model", SMALL, "--prompt", "a", "--prompt-file", "b",
                   names=["--prompt"])
        self.fails(2, "generate", "--model", SMALL, "--prompt", "a", "--greedy", "--top-k", "4",
                   names=["--greedy"])
        self.fails(2, "score", "--model", SMALL, "--context", "a", names=["--continuation"])
        self.fails(2, "score", "--model", SMALL, "--context-file", "-", "--continuation-file", "-",
                   stdin="a", names=["standard input"])
        self.fails(2, "score", "--model", SMALL, "--items", "f", "--context", "a",
                   names=["--items"])
        self.fails(2, "plan", "--length", "5", names=["--model"])
        self.fails(2, "tokenize", "--text", "a", names=["--tokenizer"])
        self.fails(2, "tokenize", "--model", SMALL, "--decode", "--text", "1 2 99999999",
                   names=["id 3", "99999999"])
        self.fails(2, "tokenize", "--model", SMALL, "--decode", "--text", "1 -2", names=["-2"])

    def test_suggestions(self):
        generate = ("generate", "--model", SMALL, "--prompt", "a")
        for wrong, meant in ((("--gredy",), "--greedy"), (("--top-K=4",), "--top-k"),
                             (("--max-token", "3"), "--max-tokens"), (("--dtype", "bf61"), "bf16"),
                             (("--device", "refrence"), "reference"),
                             (("--reduce", "utcr@30%"), "utrc")):
            self.fails(2, *generate, *wrong, names=[f"did you mean '{meant}'?"])
        self.fails(2, "genrate", names=["did you mean 'generate'?"])
        self.fails(2, "--verison", names=["did you mean '--version'?"])
        self.fails(2, "eval", "--model", SMALL, "--tasks", "piqua", names=["did you mean 'piqa'?"])
        self.assertNotIn("did you mean", self.fails(2, *generate, "--frobnicate"))

    def test_simd(self):
        wrong = run("generate", "--model", SMALL, "--prompt", "a", env={**os.environ, "PITH_SIMD": "avx1"})
        self.assertEqual(wrong.returncode, 2, wrong.stderr)
        self.assertIn("PITH_SIMD: got 'avx1', expected one of ", wrong.stderr)

    def test_byte_order_marks(self):
        mark = b"\xef\xbb\xbf"
        item = json.dumps({"context": "The cat", "continuation": " sat"}).encode()
        config = pathlib.Path(SMALL, "config.json").read_bytes()
        tokenizer = pathlib.Path(SMALL, "tokenizer.json").read_bytes()
        model = self.folder / "marked"
        model.mkdir()
        (model / "model.safetensors").symlink_to(pathlib.Path(SMALL, "model.safetensors"))
        (model / "config.json").write_bytes(mark + config)
        (model / "tokenizer.json").write_bytes(mark + tokenizer)
        items = ("score", "--json", "--items")
        for args, file, content in (
                (("tokenize", "--json", "--file"), "text", b"Hello"),
                (("tokenize", "--json", "--decode", "--file"), "ids", b"510 12"),
                (items, "items", item + b"\n")):
            plain = run(*args, self.write(file, content), "--model", SMALL)
            path = self.write(file + "-marked", mark + content)
            marked = run(*args, path, "--model", model, "--verbose")
            self.assertEqual(marked.returncode, 0, marked.stderr)
            self.assertEqual(marked.stdout, plain.stdout)
            self.assertIn(f"pith: note: {path}: skipped the byte-order mark", marked.stderr)
            self.assertIn(f"{model}/tokenizer.json: skipped", marked.stderr)
            self.assertNotIn("note", run(*args, path, "--model", model).stderr)
        self.assertIn("config.json: skipped", run("info", "--model", model, "-v").stderr)
        piped = run("tokenize", "--model", SMALL, "--file", "-", "-v", stdin="\ufeffHello")
        self.assertIn("standard input: skipped", piped.stderr)
        self.assertEqual(piped.stdout, run("tokenize", "--model", SMALL, "--text", "Hello").stdout)
        reduce = self.write("reduce", mark + b"utrc@30%\n")
        self.json("plan", "--model", SMALL, "--length", "100", "--reduce", f"@{reduce}", "--json")

    def test_sampling_values(self):
        for option, value in (("--temperature", "-1"), ("--temperature", "nan"), ("--top-p", "2"),
                              ("--min-p", "-0.5"), ("--top-k", "-3"),
                              ("--repetition-penalty", "0")):
            self.fails(2, "generate", "--model", SMALL, "--prompt", "a", option, value)

    def test_missing_files(self):
        nowhere = self.folder / "nowhere"
        self.fails(3, "info", "--model", nowhere, names=[nowhere])
        self.fails(3, "generate", "--model", nowhere, "--prompt", "a", names=[nowhere])
        self.fails(3, "generate", "--model", SMALL, "--prompt-file", nowhere, names=[nowhere])
        self.fails(3, "generate", "--model", SMALL, "--prompt", "a", "--load-state", nowhere,
                   names=[nowhere])
        self.fails(3, "tokenize", "--tokenizer", nowhere, "--text", "a", names=[nowhere])
        self.fails(3, "score", "--model", SMALL, "--items", nowhere, names=[nowhere])
        self.fails(3, "plan", "--model", SMALL, "--length", "9", "--reduce", f"@{nowhere}",
                   names=[nowhere])
        self.fails(3, "tokenize", "--model", SMALL, "--file", self.folder, names=[self.folder])

    def test_corrupt_files(self):
        bad = self.write("tokenizer.json", "{")
        self.fails(3, "tokenize", "--tokenizer", bad, "--text", "a", names=[bad])
        state = self.write("state", b"not a state")
        self.fails(3, "generate", "--model", SMALL, "--prompt", "a", "--load-state", state,
                   names=[state])

    def test_reductions(self):
        plan = ("plan", "--model", SMALL, "--length", "100", "--reduce")
        self.fails(2, *plan, "utcr@30%", names=["utcr", "utrc"])
        self.fails(2, *plan, "utrc@-5%", names=["-5%"])
        self.fails(2, *plan, "utrc@nan%", names=["nan%"])
        self.fails(2, *plan, "utrc@99%", names=["utrc"])
        self.fails(2, *plan, "utrc@30%:frob=1", names=["frob"])
        self.fails(2, *plan, "utrc@30%:keep", names=["keep"])
        self.fails(2, *plan, "utrc@30%", "--sites", "5,24", names=["24"])
        self.fails(2, *plan, "utrc@30%", "--sites", "5,5", names=["5"])
        self.fails(2, *plan, "utrc@30%", "--sites", "5,x", names=["--sites"])
        self.fails(2, "plan", "--model", SMALL, "--length", "0", names=["--length"])
        self.fails(2, "inspect", "--model", SMALL, "--text", TEXT, "--reduce", "utrc@20%",
                   "--site", "6", names=["--site", "5, 7, 9"])

    def test_short_texts(self):
        empty = self.write("empty", "")
        generate = ("generate", "--model", SMALL, "--max-tokens", "3", "--greedy", "--json")
        self.fails(2, *generate, "--prompt", "", names=["--prompt"])
        self.fails(2, *generate, "--prompt-file", empty, names=[empty])
        self.fails(2, *generate, "--prompt-file", "-", stdin="", names=["--prompt-file -"])
        self.assertEqual(len(self.json(*generate, "--prompt", "a")["ids"]), 3)
        self.assertEqual(self.json(*generate, "--prompt", "a")["prompt_tokens"], 1)
        self.assertEqual(self.json(*generate, "--prompt", "", "--bos")["prompt_tokens"], 1)
        reduced = self.json(*generate, "--prompt", "a", "--reduce", "utrc@30%")
        self.assertEqual(reduced["ids"], self.json(*generate, "--prompt", "a")["ids"])
        self.fails(2, "perplexity", "--model", SMALL, "--text", "a", names=["--text", "2"])
        self.fails(2, "inspect", "--model", SMALL, "--text", "", names=["--text"])
        self.fails(2, "score", "--model", SMALL, "--context", "a", "--continuation", "",
                   names=["--continuation"])

    def test_unwritable(self):
        nowhere = self.folder / "no" / "where"
        self.fails(3, "plan", "--list", "--output", nowhere, names=[nowhere])
        self.fails(3, "generate", "--model", SMALL, "--prompt", "a", "--save-state", nowhere,
                   names=[nowhere])
        self.fails(3, "plan", "--list", "--output", self.folder, names=[self.folder])
        self.fails(3, "plan", "--list", "--output", "/dev/null", names=["/dev/null"])
        with open("/dev/full", "w") as full:
            done = subprocess.run([str(support.program), "plan", "--list"], stdout=full,
                                  stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 3)
        self.assertIn("standard output", done.stderr)

    def test_output_file(self):
        path = self.write("out.json", "old")
        done = run("plan", "--list", "--json", "--output", path)
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertIn("methods", json.loads(path.read_text()))
        self.fails(3, "info", "--model", self.folder / "nowhere", "--output", path)
        self.assertIn("methods", json.loads(path.read_text()))  # the old one still
        self.assertEqual(os.listdir(self.folder), ["out.json"])  # no temporary left


class Items(Case):
    def items(self, *lines):
        return self.write("items.jsonl", "\n".join(
            line if isinstance(line, str) else json.dumps(line) for line in lines))

    def test_same_as_pairs(self):
        pairs = [("The cat sat on", " the mat"), (TEXT, "The captain"), (TEXT, "A bird"),
                 ("One", " two three four")]
        items = [{"context": c, "continuation": d, "id": f"n{i}"}
                 for i, (c, d) in enumerate(pairs)]
        path = self.items(*items[:2], "", *items[2:])
        for extra in ((), ("--reduce", "utrc@20%")):
            options = ("score", "--model", SMALL, "--json", *extra)
            done = run(*options, "--items", path)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("items", done.stderr)
            got = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual([g["id"] for g in got], ["n0", "n1", "n2", "n3"])
            self.assertEqual([g["line"] for g in got], [1, 2, 4, 5])
            for item, (c, d) in zip(got, pairs):
                alone = self.json(*options, "--context", c, "--continuation", d)
                # Bit-identical whatever else is in the batch.
                self.assertEqual({k: item[k] for k in alone}, alone)

    def test_bad_texts_leave_the_rest(self):
        """Found by the tokenizer: no tokens after the context, one token without a context."""
        good = {"context": "The cat sat on", "continuation": " the mat"}
        alone = run("score", "--model", SMALL, "--items", self.items(good, good), "--json")
        path = self.items(good, {"context": "The", "continuation": " "},
                          {"context": "", "continuation": "a"}, good)
        done = run("score", "--model", SMALL, "--items", path, "--json")
        self.assertEqual(done.returncode, 3)
        self.assertIn(f"{path}:3: continuation", done.stderr)
        *results, last = done.stdout.splitlines()
        bad = json.loads(last)["lines_left_out"]
        self.assertIn(3, bad)
        self.assertEqual(json.loads(last)["left_out"], len(bad))
        scored = [json.loads(line) for line in results]
        self.assertEqual([s["line"] for s in scored if s["line"] in (1, 4)], [1, 4])
        first = json.loads(alone.stdout.splitlines()[0])
        self.assertEqual(scored[0], first)  # with the bits that it has without them
        table = run("score", "--model", SMALL, "--items", path)
        self.assertEqual(table.returncode, 3)
        self.assertIn("left out", table.stderr)
        self.assertNotIn("left out", table.stdout)
        self.fails(3, "score", "--model", SMALL, "--items", path, "--json", "--strict",
                   names=["continuation"])

    def test_table_and_output(self):
        path = self.items({"context": "a", "continuation": " b"},
                          {"context": "a", "continuation": " c"})
        out = self.folder / "out"
        done = run("score", "--model", SMALL, "--items", path, "--output", out)
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        lines = out.read_text().splitlines()
        self.assertEqual(lines[0].split()[:3], ["line", "logprob", "tokens"])
        self.assertEqual(lines[1].split()[0], "1")
        self.assertIn("2, ", [line for line in lines if line.startswith("items")][0])

    def test_bad_lines(self):
        good = {"context": "a", "continuation": " b"}
        for bad, field in (("{", ""), ("[1]", ""), ('{"context": "a"}', "continuation"),
                           ('{"context": 3, "continuation": "b"}', "context"),
                           ('{"context": "a", "continuation": ""}', "continuation"),
                           ('{"context": "a", "continuation": "b", "id": []}', "id"),
                           ('{"context": "a", "context": "c", "continuation": "b"}', "context"),
                           ("[" * 100000, "")):
            path = self.items(good, good, bad, good)
            self.fails(3, "score", "--model", SMALL, "--items", path, "--json", "--strict",
                       names=[f"{path}:3", field])
            done = run("score", "--model", SMALL, "--items", path, "--json")
            self.assertEqual(done.returncode, 3, done.stderr)
            self.assertIn(f"pith: error: {path}:3: ", done.stderr)
            self.assertIn(field, done.stderr)
            self.assertIn("1 line left out", done.stderr)
            *results, last = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual([result["line"] for result in results], [1, 2, 4])
            self.assertEqual(last, {"left_out": 1, "lines_left_out": [3]})
        self.fails(3, "score", "--model", SMALL, "--items", self.write("none", "\n\n"),
                   names=["none"])
        self.fails(3, "score", "--model", SMALL, "--items", "-", stdin="nope\n",
                   names=["standard input:1"])
        self.fails(3, "score", "--model", SMALL, "--items", self.items("nope", "{}"), "--strict",
                   names=["items.jsonl:1"])
        latin1 = self.write("latin1", b'{"context": "\xe9", "continuation": "b"}\n')
        self.fails(3, "score", "--model", SMALL, "--items", latin1, names=["latin1:1"])
