"""pith convert, and GGUF files wherever a model is taken: what is printed, what is left behind."""

import json
import os

from support import MODELS, SMALL, TEXT, Case, run


class Convert(Case):
    def convert(self, *args, model=SMALL):
        path = self.folder / "model.gguf"
        return path, self.json("convert", "--model", model, "--to", "gguf", "-o", path, "--json", *args)

    def test_report(self):
        path, report = self.convert("--weights", "q8_0")
        self.assertEqual(sorted(report), ["bytes", "output", "parameters", "stored", "to", "tokenizer"])
        self.assertEqual(report["bytes"], path.stat().st_size)
        self.assertTrue(report["tokenizer"])
        info = self.json("info", "--model", path, "--json")
        self.assertEqual(info["stored"], report["stored"])
        self.assertEqual(info["format"], "gguf")
        self.assertEqual(info["end_of_text"], {"id": 0, "source": "tokenizer.ggml.eos_token_id"})
        self.assertEqual(os.listdir(self.folder), ["model.gguf"])
        done = run("convert", "--model", path, "-o", path, "--weights", "f16")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("F16", done.stdout)
        self.assertEqual(done.stderr, "")

    def test_a_stored_model_says_the_same(self):
        for model in MODELS:
            path, _ = self.convert(model=model)
            for verb in (("tokenize", "--text", TEXT, "--json"),
                         ("perplexity", "--text", TEXT, "--json"),
                         ("generate", "--prompt", TEXT, "--greedy", "--max-tokens", "8", "--quiet")):
                texts = [run(verb[0], "--model", m, *verb[1:]) for m in (model, path)]
                self.assertEqual(texts[1].returncode, 0, texts[1].stderr)
                self.assertEqual(drop_times(texts[0].stdout), drop_times(texts[1].stdout))

    def test_mistakes(self):
        path = self.folder / "m.gguf"
        self.fails(2, "convert", "--model", SMALL, "-o", path, "--to", "onnx", names=("onnx", "gguf"))
        self.fails(2, "convert", "--model", SMALL, "-o", path, "--weights", "q5", names=("q5", "q8_0"))
        self.fails(2, "convert", "--model", SMALL, names=("--output",))
        self.fails(3, "convert", "--model", self.folder / "none", "-o", path, names=("none",))
        self.fails(3, "convert", "--model", SMALL, "-o", self.folder / "no/m.gguf", names=("no/m.gguf",))
        text = self.write("t.gguf", "hello")
        self.fails(3, "info", "--model", text, names=("t.gguf", "GGUF"))
        self.assertEqual(os.listdir(self.folder), ["t.gguf"])


def drop_times(text):
    if not text.startswith("{"):
        return text
    return {key: value for key, value in json.loads(text).items() if "second" not in key}
