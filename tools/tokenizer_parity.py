#!/usr/bin/env python3
"""Compares pith's token ids with those of the `tokenizers` package.

    tokenizer_parity.py compare --tokenizer A/tokenizer.json --tokenizer B/tokenizer.json --text BOOKS.txt.xz
    tokenizer_parity.py code-points
    tokenizer_parity.py kinds --each 'bench_tokenize {tokenizer} {file} 1 each'
    tokenizer_parity.py golden --neox gpt-neox-20b.tokenizer.json --shipped models/X/tokenizer.json

compare: books (--text), code, translations and manuals that this machine has installed, long runs
    of blanks, a seeded generator of nasty strings, and invalid bytes. Prints for each part the
    bytes and tokens compared and the first difference; the exit status is 1 if there is one.
code-points: every Unicode code point, alone and in contexts that show how words are cut and how
    text is normalised, through a small tokenizer whose merges make each cut visible.
kinds: small tokenizers of every kind that published models ship (tokenizer_kinds.py), trained here,
    on --texts generated strings each: ids, and the text that they decode to. --kind picks some.
golden: writes tests/tokenize/golden_ids.json, which tests/tokenize/golden_test.cc reads, the
    cut-down tokenizer that it needs, and kinds.json.xz, which kinds_test.cc reads.

--command is how ids are had from pith; it must print {"ids": [...]} for {tokenizer} and {file}.
--each is the same for {file} with an array of texts: {"ids": [[...], ...], "texts": [...]}.
"""
import argparse
import gzip
import json
import lzma
import os
import pathlib
import random
import shlex
import struct
import subprocess
import sys
import tempfile
import unicodedata

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers  # noqa: E402
import tokenizer_kinds  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "tokenize" / "golden_ids.json"
GOLDEN_KINDS = ROOT / "tests" / "tokenize" / "kinds.json.xz"
SHORT_NEOX = ROOT / "tests" / "tokenize" / "short-neox.tokenizer.json"


# ---- texts -------------------------------------------------------------------------------------

def read_any(path):
    opener = {".xz": lzma.open, ".gz": gzip.open}.get(pathlib.Path(path).suffix, open)
    with opener(path, "rb") as f:
        return f.read()


def gather(patterns, limit, read=read_any):
    """Up to `limit` bytes of the files that match, in an order that mixes folders."""
    files = sorted(p for root, pattern in patterns for p in pathlib.Path(root).rglob(pattern))
    files = [p for p in files if p.is_file()]
    random.Random(7).shuffle(files)
    parts, size = [], 0
    for path in files:
        try:
            parts.append(read(path)[:200_000])
        except (OSError, ValueError, struct.error):
            continue
        size += len(parts[-1])
        if size >= limit:
            break
    return b"\n".join(parts)[:limit]


def catalogue(path):
    """The translations in a gettext .mo file, whatever their encoding."""
    data = path.read_bytes()
    order = "<" if data[:4] == b"\xde\x12\x04\x95" else ">"
    count, _, table = struct.unpack_from(order + "3I", data, 8)
    spans = [struct.unpack_from(order + "2I", data, table + 8 * i) for i in range(count)]
    return b"\n".join(data[at:at + size] for size, at in spans)


CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "'", "''s", "\u2019s", " 's", "'\u0301s"]
BLANKS = [" ", "  ", "   ", " " * 24, " " * 25, "\t", "\n", "\n\n", "\r\n", "\v", "\f", "\x1c", "\x1f", "\x85", "\xa0",
          "\u1680", "\u180e", "\u2000", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u200b", "\ufeff"]
MARKS = ["\u0300", "\u0301", "\u0308", "\u0323", "\u0327", "\u0338", "\u0345", "\u05b0", "\u0651", "\u064b", "\u093c",
         "\u09be", "\u09d7", "\u0bd7", "\u0dcf", "\u102e", "\u3099", "\u309a", "\U000110ba", "\U00011127", "\u1ab0", "\u0898"]
PIECES = ["<|endoftext|>", "<|padding|>", "<|endoftext", "|>", "\u1112\u1161\u11ab", "\u1100\u1161", "\uac00\u11a8", "\u11a8",
          "\u212b", "\u2126", "\u0344", "\ufb1d", "\u0958", "\u2adc", "\U0001d15e", "\u1e9b\u0323", "e\u0301", "q\u0307\u0323",
          "\u00b2", "\u00bd", "\u2167", "\u2460", "\u0663", "\u0967", "\u3007", "\u4e00", "\U00010107", "\u2075",
          "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f", "\U0001f44d\U0001f3fd", "\u0000",
          "\x01", "\x7f", "\x80", "\xad", "\u200d", "\u202e", "\ufffd", "\uffff", "\U0010ffff", "\ue000", "Ġ", "Ċ", "ſt",
          "the", "The", "ing", " and", "I'm", "don't", "WE'LL", "12", "3.14", "0x1F", "a_b", "->", "...", "!!", "=" * 17, "a" * 60]


def nasty(rng, more=()):
    """One string of 1 to 40 pieces that tokenizers get wrong."""
    def piece():
        if more and rng.randrange(5) == 0:
            return rng.choice(more)
        kind = rng.randrange(8)
        if kind < 4:
            return rng.choice((PIECES, CONTRACTIONS, BLANKS, MARKS)[kind])
        if kind == 4:
            return "".join(rng.choices("abcXYZ 019.,'", k=rng.randint(1, 8)))
        if kind == 5:  # one script
            start = rng.choice((0xC0, 0x370, 0x400, 0x590, 0x600, 0x900, 0xE00, 0x1100, 0x1E00, 0x3040, 0x4E00, 0xAC00, 0x1F300))
            return "".join(chr(start + rng.randrange(0x60)) for _ in range(rng.randint(1, 6)))
        if kind == 6:
            code = rng.randrange(0x110000)
            return "" if 0xD800 <= code < 0xE000 else chr(code)
        return rng.choice("aeiouAEIOUcnsy\u0915\u05d0\u0627") + "".join(rng.choices(MARKS, k=rng.randint(1, 4)))
    return "".join(piece() for _ in range(rng.randint(1, 40)))


def long_runs():
    units = [" ", "\n", "\t", "a", "é", "\u3000", "=", "0", " a", "\n ", "ab", "\u0301", "\u4e00", "\u0301\u0323", "\U0001f600"]
    return "x".join(unit * n for unit in units for n in (1, 2, 3, 23, 24, 25, 47, 48, 49, 50, 97, 1000, 10_007)).encode()


def invalid_bytes(text, rng):
    data = bytearray(text)
    for _ in range(len(data) // 20):
        data[rng.randrange(len(data))] = rng.choice((0x80, 0xBF, 0xC0, 0xC2, 0xE0, 0xE2, 0xED, 0xF0, 0xF4, 0xF5, 0xFF, rng.randrange(256)))
    return bytes(data) + b"\xe2\x82"


def corpus(texts, megabytes):
    limit = int(megabytes * 1e6)
    rng = random.Random(1)
    generated = "\n".join(nasty(rng) for _ in range(limit // 150)).encode()
    yield "books", b"".join(read_any(t) for t in texts)[:2 * limit]
    yield "code", gather([("/usr/include", "*.h"), ("/usr/lib/python3", "*.py"), (ROOT, "*.cc")], limit)
    yield "translations", gather([("/usr/share/locale", "*.mo")], 2 * limit, catalogue)
    manuals = [(d, "*.gz") for d in pathlib.Path("/usr/share/man").glob("*") if not d.name.startswith("man")]
    yield "manuals", gather(manuals + [("/var/lib/dpkg/info", "*.templates")], limit)
    yield "nasty", generated[:limit]
    yield "long runs", long_runs()
    yield "invalid bytes", invalid_bytes(generated[:limit // 2] + gather([("/usr/share/locale", "*.mo")], limit // 2, catalogue), rng)


# ---- comparison --------------------------------------------------------------------------------

def package_ids(tokenizer, data):
    return tokenizer.encode(data.decode("utf-8", "replace"), add_special_tokens=False).ids


def pith_ids(command, tokenizer_path, data, folder):
    path = pathlib.Path(folder) / "text"
    path.write_bytes(data)
    words = [w.format(tokenizer=tokenizer_path, file=path) for w in shlex.split(command)]
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)["ids"]


def report(name, data, want, got, tokenizer):
    first = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
    same = want == got
    print(f"{name}: {len(data)} bytes, {len(want)} tokens, {'equal' if same else 'DIFFERENT'}", flush=True)
    if not same:
        around = slice(max(0, first - 5), first + 5)
        print(f"  first difference at token {first}")
        for who, ids in (("package", want), ("pith", got)):
            print(f"  {who}: {ids[around]} {[tokenizer.id_to_token(i) for i in ids[around]]}")
    return same


def compare(args):
    good, total = True, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in corpus(args.text, args.megabytes):
            for path in args.tokenizer:
                tokenizer = tokenizers.Tokenizer.from_file(path)
                got = pith_ids(args.command, path, data, folder)
                good &= report(f"{path}: {name}", data, package_ids(tokenizer, data), got, tokenizer)
                total[path] = total.get(path, 0) + len(data)
    for path, size in total.items():
        print(f"{path}: {size} bytes compared")
    return good


def kind_results(spec, texts):
    """The package's ids of each text, and what they decode to; None where the package itself fails,
    as it does on an added token that lies within blanks which the one before it has taken."""
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(spec))
    tokenizer.no_truncation()

    def encode(text):
        try:
            return tokenizer.encode(text, add_special_tokens=False).ids
        except BaseException as error:  # its panics are no Exceptions
            if type(error).__name__ != "PanicException":
                raise
            return None
    ids = [encode(text) for text in texts]
    return tokenizer, ids, [i and tokenizer.decode(i, skip_special_tokens=False) for i in ids]


def kinds(args):
    good = True
    training = tokenizer_kinds.training_texts(ROOT, nasty)
    rng = random.Random(17)
    texts = [nasty(rng, tokenizer_kinds.PIECES) for _ in range(args.texts)]
    with tempfile.TemporaryDirectory() as folder:
        files = {name: pathlib.Path(folder) / name for name in ("tokenizer", "file")}
        files["file"].write_text(json.dumps(texts))
        for kind in args.kind or tokenizer_kinds.KINDS:
            spec = tokenizer_kinds.build(kind, training)
            files["tokenizer"].write_text(json.dumps(spec))
            tokenizer, ids, decoded = kind_results(spec, texts)
            words = [w.format(**files) for w in shlex.split(args.each)]
            got = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
            wrong = [i for i in range(len(texts)) if ids[i] is not None and got["ids"][i] != ids[i]]
            # This version of the package decodes an added token to its normalised form.
            changed = {t["id"] for t in spec["added_tokens"] if t["normalized"]} if spec["normalizer"] else set()
            wrong_text = [i for i in range(len(texts)) if ids[i] and not changed & set(ids[i]) and got["texts"][i] != decoded[i]]
            good &= not wrong and not wrong_text
            print(f"{kind}: {len(texts)} texts, {sum(len(i) for i in ids if i)} tokens, {len(wrong)} with other ids, {len(wrong_text)} decode otherwise, "
                  f"{ids.count(None)} beyond the package", flush=True)
            for i in wrong[:args.show]:
                report(f"  text {i} {ascii(texts[i])}", texts[i].encode(), ids[i], got["ids"][i], tokenizer)
            for i in wrong_text[:args.show]:
                print(f"  text {i}: package {ascii(decoded[i])}\n  pith {ascii(got['texts'][i])}")
    return good


def byte_chars():
    printable = [b for b in range(256) if 33 <= b <= 126 or (b >= 161 and b != 173)]
    rest = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def probe_tokenizer(normalizer, pre_tokenizer):
    """All bytes, and merges of any byte with a following "a", "1", "!" or before it a blank."""
    chars = byte_chars()
    merges = [[chars[b], c] for b in range(256) for c in "a1!"] + [[chars[32], chars[b]] for b in range(128, 256)]
    vocab = list(chars.values()) + [a + b for a, b in merges]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "added_tokens": [], "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": None,
            "decoder": level, "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(vocab)}, "merges": merges}}


def code_points(args):
    good = True
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    words = "".join(f"{c}a{c}1{c}! {c} \n" for c in points).encode()
    marks = "".join(f"a{c}\u0327\u0301 {c}\u0301 a\u0301{c}\u0327 \u0d46{c} {c}\u3099{c}{c}\n" for c in points).encode()
    whole = tokenizer_kinds.level(regex=False)
    cuts = [{"type": "Punctuation", "behavior": "Isolated"}, {"type": "Digits", "individual_digits": False}, {"type": "Whitespace"}]
    cuts += [tokenizer_kinds.split(p + "+") for p in (r"\w", r"\s", r"\h", r"\p{M}", r"\p{Lu}", r"\p{Ll}", r"\p{S}", r"\p{P}", r"\p{Han}")]
    probes = [("words", None, tokenizer_kinds.level(), words)]
    probes += [(f, {"type": f}, tokenizer_kinds.level(), marks) for f in ("NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Lowercase")]
    probes += [(json.dumps(cut), None, tokenizer_kinds.pre(cut, whole), words) for cut in cuts]
    for name, normalizer, pre_tokenizer, data in probes:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "probe.json"
            path.write_text(json.dumps(probe_tokenizer(normalizer, pre_tokenizer)))
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
            good &= report(f"every code point, {name}", data, package_ids(tokenizer, data), pith_ids(args.command, path, data, folder), tokenizer)
    return good


# ---- golden values -----------------------------------------------------------------------------

def short_neox(neox, merges):
    """GPT-NeoX-20B's file with its first merges only: small enough for the repository."""
    spec = json.loads(pathlib.Path(neox).read_text())
    model = spec["model"]
    model["merges"] = model["merges"][:merges]
    keep = set(byte_chars().values()) | {m.replace(" ", "", 1) for m in model["merges"]} | {"<|endoftext|>", "<|padding|>"}
    model["vocab"] = {t: i for t, i in model["vocab"].items() if t in keep}
    # The package numbers added tokens on from the vocabulary's size, whatever ids the file gives.
    for number, token in enumerate(t for t in spec["added_tokens"] if t["content"] not in keep):
        token["id"] = len(model["vocab"]) + number
    ids = {i: n for n, i in enumerate(sorted(model["vocab"].values()))}
    model["vocab"] = {t: ids[i] for t, i in model["vocab"].items()}
    return json.dumps(spec, ensure_ascii=False, separators=(",", ":"))


def golden_strings(rng):
    plain = ["", " ", "a", "\0", "Hello, world!", "The quick brown fox's 12 jumps\u2014over\n\n  the lazy dog.  ", "def f(x):\n\treturn  x**2\n",
             "Größe naïve Ærøskøbing", "Ελληνικά Русский עברית العربية हिन्दी ไทย 日本語 中文 한국어", "e\u0301 \u1112\u1161\u11ab \u212b",
             "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd", "a" * 100, " " * 100, "\n" * 30, "=" * 80, "<|endoftext|>a <|padding|> b",
             "1234567890 \u0663\u0664 \u00bd\u2167", "I'm we'll THEY'RE don't 'sup o'clock's"]
    return plain + [nasty(rng)[:80] for _ in range(180)]


def golden(args):
    SHORT_NEOX.write_text(short_neox(args.neox, 2000))
    strings = golden_strings(random.Random(3))
    files = {"gpt-neox-20b": args.neox, "shipped": args.shipped, "short-neox": SHORT_NEOX}
    ids = {}
    for name, path in files.items():
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
        ids[name] = [package_ids(tokenizer, s.encode()) for s in strings]
    out = {"package": f"tokenizers {tokenizers.__version__}", "strings": strings, "ids": ids}
    GOLDEN.write_text(json.dumps(out, separators=(",", ":")) + "\n")
    print(f"{GOLDEN}: {GOLDEN.stat().st_size} bytes, {len(strings)} strings")
    golden_kinds()
    return True


def golden_kinds():
    """Tokenizers of every kind with the package's answers, in one packed file."""
    training = tokenizer_kinds.training_texts(ROOT, nasty)
    rng = random.Random(23)
    texts = ["", " ", "a", "Hello, world!", " two  blanks ", "1234567 + 12.5", "<s>after", "e\u0301\u00b2\u180e"]
    texts += [nasty(rng, tokenizer_kinds.PIECES)[:60] for _ in range(100)]
    out = {"package": f"tokenizers {tokenizers.__version__}", "texts": texts, "kinds": {}}
    for kind in tokenizer_kinds.KINDS:
        spec = tokenizer_kinds.build(kind, training)
        _, ids, decoded = kind_results(spec, texts)
        normalized = {t["id"] for t in spec["added_tokens"] if t["normalized"]} if spec["normalizer"] else set()
        decoded = [None if normalized & set(i or [0]) else text for i, text in zip(ids, decoded)]
        out["kinds"][kind] = {"tokenizer": spec, "ids": ids, "decoded": decoded}
    packed = lzma.compress(json.dumps(out, separators=(",", ":")).encode(), preset=9 | lzma.PRESET_EXTREME)
    GOLDEN_KINDS.write_bytes(packed)
    print(f"{GOLDEN_KINDS}: {len(packed)} bytes, {len(texts)} texts, {len(out['kinds'])} kinds")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("compare", "code-points", "kinds", "golden"))
    parser.add_argument("--tokenizer", action="append", default=[], help="tokenizer.json; may be repeated")
    parser.add_argument("--text", action="append", default=[], help="book text, plain or .xz; may be repeated")
    parser.add_argument("--megabytes", type=float, default=2.0, help="size of one part; books and translations have two")
    parser.add_argument("--command", default="pith tokenize --tokenizer {tokenizer} --file {file} --json")
    parser.add_argument("--each", default="bench_tokenize {tokenizer} {file} 1 each")
    parser.add_argument("--kind", action="append", default=[], help="a kind of tokenizer_kinds.py; may be repeated")
    parser.add_argument("--texts", type=int, default=10_000, help="generated strings for each kind")
    parser.add_argument("--show", type=int, default=3, help="differences to print for each kind")
    parser.add_argument("--neox")
    parser.add_argument("--shipped")
    args = parser.parse_args()
    print(f"tokenizers {tokenizers.__version__}, Python's Unicode {unicodedata.unidata_version}")
    actions = {"compare": compare, "code-points": code_points, "kinds": kinds, "golden": golden}
    sys.exit(0 if actions[args.action](args) else 1)


if __name__ == "__main__":
    main()
