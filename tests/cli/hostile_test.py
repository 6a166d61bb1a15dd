"""Damaged and hostile files: whatever is quoted from them reaches the terminal as harmless text.

Every kind of file that pith reads gets texts that would drive a terminal (escape sequences, C1
controls), reorder what is read (bidirectional overrides), break lines, or are not UTF-8, in each
place of the file whose content a message may quote.
"""

import io
import json
import shutil
import struct
import unicodedata
import zipfile
import zlib

from support import MODELS, ROOT, SMALL, Case, run

# As characters, for files whose format escapes or checks them, and as bytes, for the others.
CHARACTERS = "a\x1b]0;title\x07\x1b[31m\x9b31m\u202egnp.exe\u2066\u2028b\r\nc\x7f"
BYTES = CHARACTERS.encode() + b"\xff\xfe\x80\xed\xa0\x80\xc3("
LONG = CHARACTERS + "y" * 200_000
BIDI = set(map(chr, [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]))
TOKENIZER = ROOT / "models/pith-13m-mamba1/tokenizer.json"


def unsafe(text):
    """Characters that may drive a terminal or reorder text; undecodable bytes are surrogates.
    Tabs are columns of `tokenize`, and harmless."""
    return sorted({hex(ord(c)) for c in text
                   if (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") and c not in "\n\t")
                   or c in BIDI})


def entry(name, data):
    """A zip of one stored member whose name is any bytes."""
    head = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, zlib.crc32(data), len(data), len(data),
                       len(name), 0)
    local = b"PK\x03\x04" + head + name + data
    central = (b"PK\x01\x02" + struct.pack("<H", 20) + head + struct.pack("<HHHII", 0, 0, 0, 0, 0)
               + name)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end


def torch_zip(pickled, byteorder=b"little"):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", byteorder)
        archive.writestr("archive/version", b"3\n")
    return stream.getvalue()


def binunicode(text):
    return b"X" + struct.pack("<I", len(text)) + text


def safetensors(header):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * 64


def gguf(keys=(), tensors=(), count=None):
    """A GGUF file of keys (name, type, bytes of the value) and tensors (name, dims, type)."""

    def string(text):
        return struct.pack("<Q", len(text)) + text

    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors) if count is None else count, len(keys))
    for name, kind, value in keys:
        head += string(name) + struct.pack("<I", kind) + (string(value) if kind == 8 else value)
    for name, dims, kind in tensors:
        head += string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, 0)
    return head + b"\0" * 64


class Hostile(Case):
    count = 0

    def clean(self, *args, fails=True):
        done = run(*args)
        Hostile.count += 1
        for name, text in (("stdout", done.stdout), ("stderr", done.stderr)):
            self.assertEqual(unsafe(text), [], (name, args, text[:2000]))
        self.assertLess(len(done.stderr), 6000, args)
        if fails:
            self.assertIn(done.returncode, (2, 3), (args, done.stderr[:2000]))
            self.assertTrue(done.stderr.startswith("pith: error: "), done.stderr[:2000])
        return done

    def model(self, config=None, weights=None, weights_name="model.safetensors", tokenizer=None):
        """A directory like a shipped model's, with files replaced."""
        folder = self.folder / f"model{Hostile.count}"
        folder.mkdir()
        for name, content in (("config.json", config), ("tokenizer.json", tokenizer)):
            if content is None:
                shutil.copy(MODELS[0] / name, folder)
            else:
                (folder / name).write_bytes(content)
        if weights is None:
            (folder / "model.safetensors").symlink_to(MODELS[0] / "model.safetensors")
        else:
            (folder / weights_name).write_bytes(weights)
        return folder

    def test_configs(self):
        good = json.loads((MODELS[0] / "config.json").read_text())
        configs = [json.dumps({**good, CHARACTERS: 1}), json.dumps({**good, LONG: 1}),
                   json.dumps({**good, "ssm_cfg": {"layer": CHARACTERS}}),
                   json.dumps({**good, "ssm_cfg": {"layer": LONG}}),
                   json.dumps({**good, "ssm_cfg": {CHARACTERS: {}}}),
                   json.dumps({"model_type": CHARACTERS}), json.dumps({"model_type": LONG}),
                   json.dumps({"architectures": [CHARACTERS]}), json.dumps(CHARACTERS),
                   json.dumps({**good, "d_model": [CHARACTERS]}),
                   f'{{"{json.dumps(CHARACTERS)[1:-1]}": 1, "{json.dumps(CHARACTERS)[1:-1]}": 2}}']
        configs = [text.encode() for text in configs]
        configs += [BYTES, b'{"' + BYTES, b'{"d_model": ' + BYTES, json.dumps(good).encode() + BYTES,
                    b'{"d_model": "' + BYTES + b'"}', b'{"' + b"z" * 100_000 + BYTES + b'": 1}']
        for config in configs:
            self.clean("info", "--model", self.model(config=config))
        for key in good:  # some have no effect, whatever they hold
            config = json.dumps({**good, key: CHARACTERS}).encode()
            self.clean("info", "--model", self.model(config=config), fails=False)

    def test_safetensors(self):
        tensor = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
        for header in ({CHARACTERS: tensor}, {LONG: tensor}, {CHARACTERS: 1},
                       {"a": {**tensor, "dtype": CHARACTERS}}, {"a": {**tensor, CHARACTERS: 1}},
                       {CHARACTERS: {**tensor, "shape": [-1]}},
                       {CHARACTERS: {**tensor, "data_offsets": [0, 999]}},
                       {"a": {**tensor, "shape": CHARACTERS}}, BYTES, b'{"' + BYTES + b'": 1}'):
            self.clean("info", "--model", self.model(weights=safetensors(header)))
        for index in ({"weight_map": {CHARACTERS: CHARACTERS}}, {"weight_map": {"a": "../" + LONG}},
                      {"weight_map": {CHARACTERS: "a.safetensors"}}, {"weight_map": CHARACTERS}):
            text = json.dumps(index).encode()
            self.clean("info", "--model", self.model(
                weights=text, weights_name="model.safetensors.index.json"))

    def test_torch_files(self):
        name = BYTES.replace(b"\n", b"")
        pickles = [b"\x80\x02c" + name + b"\n" + name + b"\n.",
                   b"\x80\x02}" + binunicode(BYTES) + b"K\x01s.",
                   b"\x80\x02}" + binunicode(LONG.encode()) + b"K\x01s.",
                   b"\x80\x02" + binunicode(BYTES) + b".", b"\x80\x02" + BYTES,
                   b"\x80\x02" + binunicode(BYTES) + b"Q."]
        files = [torch_zip(pickled) for pickled in pickles]
        files += [torch_zip(b"\x80\x02}.", byteorder=BYTES), BYTES, b"PK\x03\x04" + BYTES,
                  entry(BYTES + b"/data.pkl", b"\x80\x02}."), entry(BYTES, b"x")]
        for content in files:
            self.clean("info", "--model",
                       self.model(weights=content, weights_name="pytorch_model.bin"))

    def test_tokenizers(self):
        good = json.loads(TOKENIZER.read_text())
        model = good["model"]
        made = [{**good, CHARACTERS: 1}, {**good, "version": CHARACTERS},
                {**good, "normalizer": {"type": CHARACTERS}},
                {**good, "pre_tokenizer": {"type": LONG}},
                {**good, "decoder": {"type": CHARACTERS}},
                {**good, "post_processor": {"type": CHARACTERS}},
                {**good, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(" + CHARACTERS},
                                           "behavior": "Isolated", "invert": False}},
                {**good, "model": {**model, "type": CHARACTERS}},
                {**good, "model": {**model, "vocab": {CHARACTERS: -1}}},
                {**good, "model": {**model, "merges": [CHARACTERS]}},
                {**good, "model": {**model, "merges": [[CHARACTERS, LONG]]}},
                {**good, "added_tokens": [{"id": CHARACTERS, "content": "a"}]},
                {**good, "added_tokens": [{"id": 99999999, "content": CHARACTERS}]}]
        contents = [json.dumps(content).encode() for content in made] + [BYTES, b'{"' + BYTES]
        for i, content in enumerate(contents):
            path = self.write(f"t{i}.json", content)
            self.clean("tokenize", "--tokenizer", path, "--text", "a")

    def test_gguf_files(self):
        mamba = (b"general.architecture", 8, b"mamba")
        word, long = BYTES, LONG.encode()
        embedding = (b"token_embd.weight", [4, 1], 0)

        def strings(*texts):
            return struct.pack("<IQ", 8, len(texts)) + b"".join(
                struct.pack("<Q", len(text)) + text for text in texts)

        files = [gguf([(text, 4, b"\1\0\0\0")]) for text in (word, long, word * 9000)]
        files += [gguf([(word, 99, b"")]), gguf([mamba, (word, 4, b"\1\0\0\0")], [embedding]),
                  gguf([mamba, mamba]), gguf([(word, 8, word), (word, 8, word)]),
                  gguf([(b"general.architecture", 8, word)]),
                  gguf([(b"general.architecture", 8, long)]),
                  gguf([mamba, (b"mamba.block_count", 8, word)], [embedding]),
                  gguf([mamba, (b"mamba." + word, 8, long)], [embedding]),
                  gguf([mamba], [(word, [4], 0)]), gguf([mamba], [(long, [4], 0)]),
                  gguf([mamba], [(word, [4], 77)]), gguf([mamba], [(word, [1 << 60], 0)]),
                  gguf([mamba], [(word, [0], 0)]), gguf([mamba], [(word, [4], 0)] * 2),
                  gguf([mamba], count=1 << 60), b"GGUF" + word, word]
        for content in files:
            self.clean("info", "--model", self.write("m.gguf", content))
        model, pre = (b"tokenizer.ggml.model", 8, b"gpt2"), (b"tokenizer.ggml.pre", 8, b"gpt-2")
        for keys in ([(b"tokenizer.ggml.model", 8, word)], [model, (b"tokenizer.ggml.pre", 8, word)],
                     [model, pre, (b"tokenizer.ggml.tokens", 9, strings(word))],
                     [model, pre, (b"tokenizer." + word, 8, word)],
                     [model, pre, (b"tokenizer.ggml.tokens", 9, strings(b"a", CHARACTERS.encode())),
                      (b"tokenizer.ggml.merges", 9, strings(word))],
                     [model, pre, (b"tokenizer.ggml.tokens", 9, strings(*[CHARACTERS.encode()] * 2)),
                      (b"tokenizer.ggml.merges", 9, strings(b"a " + word))]):
            self.clean("tokenize", "--tokenizer", self.write("m.gguf", gguf(keys)), "--text", "a")

    def test_items_states_and_tasks(self):
        good = {"context": "a", "continuation": " b"}
        lines = [json.dumps({**good, "context": [LONG]}), json.dumps({CHARACTERS: LONG}),
                 json.dumps({**good, "id": {CHARACTERS: 1}}), json.dumps(LONG)]
        contents = [line.encode() for line in lines] + [BYTES, b'{"context": "' + BYTES + b'"}']
        for i, content in enumerate(contents):
            path = self.write(f"i{i}", content)
            self.clean("score", "--model", SMALL, "--items", path)
            self.clean("score", "--model", SMALL, "--items", path, "--strict", "--json")
            data = self.folder / f"data{i}"
            (data / "recall").mkdir(parents=True)
            (data / "recall/recall-1.8k.jsonl.xz").write_bytes(content)
            self.clean("eval", "--model", SMALL, "--tasks", "recall", "--data", data,
                       "--output", self.folder / "out")
        for content in (BYTES, b"PITHSTAT" + BYTES * 9, CHARACTERS.encode()):
            path = self.write("state", content)
            self.clean("generate", "--model", SMALL, "--load-state", path, "--prompt", "a")

    def test_reductions_and_calibrations(self):
        plan = ("plan", "--model", SMALL, "--length", "100", "--reduce")
        for text in (CHARACTERS, f"utrc@{CHARACTERS}", f"utrc@30%:{CHARACTERS}=1",
                     f"utrc@30%:importance={CHARACTERS}", LONG[:100_000], f"@{CHARACTERS}",
                     f"utrc@30%:sites={CHARACTERS}"):
            self.clean(*plan, text)
        for i, content in enumerate((BYTES, LONG.encode(), b"# x\nutrc@" + BYTES)):
            self.clean(*plan, f"@{self.write(f'r{i}', content)}")
        for i, content in enumerate((BYTES, json.dumps({"format": LONG}).encode(),
                                     json.dumps({CHARACTERS: 1}).encode())):
            path = self.write(f"l{i}", content)
            self.clean(*plan, f"ltmp@30%:thresholds={path}")

    def test_command_lines_and_paths(self):
        for args in ((CHARACTERS,), (BYTES.decode(errors="surrogateescape"),), ("info", "--" + CHARACTERS),
                     ("info", "--model", CHARACTERS), ("info", "--model", SMALL, CHARACTERS),
                     ("info", "--model", SMALL, "--dtype", CHARACTERS),
                     ("info", "--model", SMALL, "--threads", CHARACTERS),
                     ("generate", "--model", SMALL, "--prompt-file", CHARACTERS),
                     ("tokenize", "--model", SMALL, "--decode", "--text", CHARACTERS),
                     ("eval", "--model", SMALL, "--tasks", CHARACTERS),
                     ("score", "--model", SMALL, "--scoring", CHARACTERS, "--items", "x")):
            self.clean(*args)

    def test_results_are_harmless_too(self):
        for options in ((), ("--json",)):
            text = CHARACTERS.replace("\n", " ")
            for verb in (("tokenize",), ("inspect", "--reduce", "utrc@50%:protect=0")):
                self.clean(*verb, "--model", SMALL, "--text", text * 3, *options, fails=False)
