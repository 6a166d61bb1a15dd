"""--weights int8 and int4, and pith convert --to safetensors: quality, bits, hostile files."""

import json
import struct

from support import MODELS, SMALL, TEXT, Case


def read_tensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), bytearray(data[8 + size :])


def write_tensors(path, header, data):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))


class Weights(Case):
    def nll(self, model, *options):
        return self.json("perplexity", "--model", model, "--bos", "--text", TEXT, "--json", *options)[
            "nll"
        ]

    def test_quality(self):
        """What the page promises of a long text, with room for a short one."""
        for model in MODELS:
            stored = self.nll(model)
            self.assertNotEqual(self.nll(model, "--weights", "int8"), stored)
            self.assertLess(abs(self.nll(model, "--weights", "int8") / stored - 1), 0.02)
            self.assertLess(abs(self.nll(model, "--weights", "int4") / stored - 1), 0.10)

    def test_threads_and_dtype_change_no_bit(self):
        one = self.nll(SMALL, "--weights", "int8", "--threads", "1")
        self.assertEqual(one, self.nll(SMALL, "--weights", "int8", "--threads", "3"))

    def test_refused(self):
        self.fails(2, "perplexity", "--model", SMALL, "--text", TEXT, "--weights", "int3",
                   names=["int3"])
        self.fails(2, "bench", "--shape", "mamba-130m", "--weights", "stored", names=["--model"])


class Converted(Case):
    def convert(self, weights):
        out = self.folder / weights
        report = self.json("convert", "--model", SMALL, "--to", "safetensors", "--weights", weights,
                           "-o", out, "--json")
        self.assertTrue(report["tokenizer"])
        return out

    def score(self, model, *options):
        return self.json("perplexity", "--model", model, "--text", TEXT, "--json", *options)["nll"]

    def test_loads_back_to_the_same_bits(self):
        for weights in ("int8", "int4"):
            out = self.convert(weights)
            self.assertEqual(self.score(out), self.score(SMALL, "--weights", weights))
            self.assertEqual(sorted(p.name for p in out.iterdir()),
                             ["config.json", "model.safetensors", "tokenizer.json"])
            config = json.loads((out / "config.json").read_text())
            self.assertEqual(config["quantization_config"],
                             {"quant_method": "pith", "version": 1, "weights": weights})
            self.fails(2, "convert", "--model", SMALL, "--to", "safetensors", "--weights", weights,
                       "-o", out, names=[out, "new or empty"])
            self.assertEqual([p for p in self.folder.iterdir() if ".tmp." in p.name], [])

    def test_damage_is_named(self):
        out = self.convert("int8")
        path = out / "model.safetensors"
        whole, data = read_tensors(path)
        name = "backbone.layers.0.mixer.in_proj.weight"
        scale = name + "_scale"

        def expect(*names, header=whole, content=data):
            write_tensors(path, header, content)
            self.fails(3, "perplexity", "--model", out, "--text", TEXT, names=names)

        at = whole[scale]["data_offsets"][0]
        for bad in (float("nan"), float("inf"), -1.0):
            spoilt = bytearray(data)
            spoilt[at : at + 4] = struct.pack("<f", bad)
            expect(scale, "row 0", content=spoilt)
        renamed = {key.replace(scale, scale + "s"): value for key, value in whole.items()}
        write_tensors(path, renamed, data)
        self.fails(3, "perplexity", "--model", out, "--text", TEXT, names=[scale])
        wrong = json.loads(json.dumps(whole))
        wrong[scale]["shape"] = [1, wrong[scale]["shape"][0]]
        expect(scale, "shape", header=wrong)
