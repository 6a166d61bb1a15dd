#!/usr/bin/env python3
"""Vocabularies of SentencePiece in GGUF files: ids of llama.cpp and sentencepiece beside pith's.

    gguf_pieces.py golden  --llama path/to/llama_ids
    gguf_pieces.py compare --llama path/to/llama_ids --pith build/cpu/pith --each build/cpu/benchmarks/bench_tokenize

golden: trains small byte-pair encodings on data/text, writes each as a GGUF file with the gguf
    package, and stores the files, texts that are hard and their ids in tests/tokenize/pieces*.xz,
    which gguf_pieces_test.cc reads.
compare: the same, and a vocabulary of 8,000, on --texts generated strings and the lines of
    data/text, with pith beside them; and the names of pre-tokenizers that mean what llama.cpp does.
    With --pith, tokenizers of tokenizer.json become GGUF files by `pith convert` and are compared
    with the `tokenizers` package. The exit status is 1 where ids differ.

sentencepiece reads no added tokens in texts: it is compared where a text has none.

Needs sentencepiece, gguf and tokenizers (PyPI; last used: 0.2.3, 0.19.0, 0.23.3) and
tools/golden/llama_ids.cc, built in a llama.cpp tree (last used: the one in llama-cpp-python 0.3.36)
whose libraries lie in build/bin:

  g++ -std=c++17 -Iinclude -Iggml/include PITH/tools/golden/llama_ids.cc -o llama_ids \\
      -Lbuild/bin -lllama -lggml -lggml-base -Wl,-rpath,$PWD/build/bin
"""
import argparse
import io
import json
import lzma
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

import gguf
import sentencepiece
import tokenizers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import tokenizer_kinds  # noqa: E402
import tokenizer_parity  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TESTS = ROOT / "tests" / "tokenize"
MARK = "\u2581"
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
# As converters add them behind the pieces: special ones, text, blanks, text that begins another.
ADDED = [("<|im_start|>", CONTROL), ("<tool>", USER), ("    ", USER), ("<tool>x", USER), ("é\n", USER)]
MARKUP = ["<unk>", "<s>", "</s>"] + [text for text, _ in ADDED]
PIECES = MARKUP + [MARK, MARK * 2, MARK + "a", "<0x41>", "<0xe9>", "[PAD607]", "<tool", "tool>", " the", "  the", "the  ", " \n ",
                   "\n\n", "        ", "\t\t", "aaaa", "==", "-----", "ing", "ed.", ", and", "1234567"]
HARD = ["", " ", "  ", "   ", "    ", "     ", "a", " a", "a ", "  a  b   c    d     e", "\n", "\na", "a\n\n\nb", "\t", "\r\n", "\0", "a\0b",
        "Hello, world!", "The child's dog -- it ran.", "é", "e\u0301", "\u4f60\u597d", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "<s>", "a<s>b", "a <s> b", "<unk>", "</s></s>", "<tool>", "<tool>x", "<tool>y", " <tool> x", "x<tool><tool>x", "<|im_start|>user\nHi",
        "a    b", "     b", "a       b", "é\nb", MARK, MARK + "a", "a" + MARK * 3, "<0x0A>", "<0xE9>", "a" * 60, "ab" * 40, " " * 70, "the" * 30]
MODELS = {
    # Llama 2, Mistral, Zamba2
    "prefix": dict(vocab_size=620, byte_fallback=True, split_digits=True, allow_whitespace_only_pieces=True),
    # Jamba, where llama.cpp's converter says so
    "no-prefix": dict(vocab_size=560, byte_fallback=True, add_dummy_prefix=False, split_by_whitespace=False, max_sentencepiece_length=24),
    # Characters without a token are unknown; llama.cpp fails on them.
    "no-bytes": dict(vocab_size=300, byte_fallback=False),
}
LARGE = {"large": dict(vocab_size=8000, byte_fallback=True, split_digits=True, allow_whitespace_only_pieces=True, character_coverage=0.99995)}


def book():
    return lzma.open(ROOT / "data" / "text" / "heldout-1mb.txt.xz", "rt", encoding="utf-8").read()


def train(options):
    defaults = dict(model_type="bpe", normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.999,
                    minloglevel=2, num_threads=1, input_sentence_size=0)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(book()[:400_000].split("\n")), model_writer=model, **defaults | options)
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def type_of(model, i):
    kinds = [(model.IsUnknown, UNKNOWN), (model.IsControl, CONTROL), (model.IsUnused, UNUSED), (model.IsByte, BYTE)]
    return next((kind for holds, kind in kinds if holds(i)), NORMAL)


def vocabulary(model, options):
    """What convert_hf_to_gguf.py writes of a tokenizer.model with added tokens, filled up."""
    size = model.vocab_size()
    tokens = [model.IdToPiece(i) for i in range(size)] + [text for text, _ in ADDED]
    scores = [model.GetScore(i) for i in range(size)] + [-1000.0] * len(ADDED)
    types = [type_of(model, i) for i in range(size)] + [kind for _, kind in ADDED]
    fill = -len(tokens) % 8
    tokens += [f"[PAD{len(tokens) + i}]" for i in range(fill)]
    return dict(tokens=tokens, scores=scores + [-10000.0] * fill, types=types + [UNUSED] * fill, prefix=options.get("add_dummy_prefix", True))


def write_gguf(path, v):
    """`v`: tokens and types, with scores and a prefix (SentencePiece) or merges and a pre-tokenizer."""
    writer = gguf.GGUFWriter(path, "llama")
    for add, value in ((writer.add_context_length, 2048), (writer.add_embedding_length, 64), (writer.add_block_count, 1), (writer.add_head_count, 4),
                       (writer.add_feed_forward_length, 64), (writer.add_layer_norm_rms_eps, 1e-5), (writer.add_vocab_size, len(v["tokens"])),
                       (writer.add_tokenizer_model, "llama" if "scores" in v else "gpt2"), (writer.add_tokenizer_pre, v.get("pre", "default")),
                       (writer.add_token_list, v["tokens"]), (writer.add_token_types, v["types"]), (writer.add_add_bos_token, True)):
        add(value)
    if "scores" in v:
        writer.add_token_scores(v["scores"])
        writer.add_add_space_prefix(v["prefix"])
    else:
        writer.add_token_merges(v["merges"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_ids(program, path, texts):
    lines = "".join(text.encode().hex() + "\n" for text in texts)
    out = subprocess.run([program, path], input=lines, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [None if line == "none" else [int(i) for i in line.split()] for line in out.split("\n")[:-1]]


def pith_ids(program, path, texts):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(texts, file)
        file.flush()
        out = subprocess.run([program, path, file.name, "1", "each"], check=True, stdout=subprocess.PIPE).stdout
    return json.loads(out)["ids"]


def piece_ids(model, texts):
    plain = [not any(m in text for m in MARKUP) for text in texts]
    return [model.Encode(text) if ok else None for text, ok in zip(texts, plain)]


def cases(models):
    """Of each: name, what is written, who gives ids beside llama.cpp."""
    for name, options in models.items():
        model = train(options)
        v = vocabulary(model, options)
        yield name, v, lambda texts, model=model: piece_ids(model, texts)
        if name == "prefix":  # as the converter writes what it has as tokenizer.json alone
            yield "equal-scores", v | dict(scores=[-1000.0] * len(v["scores"])), None


# ---- golden values -----------------------------------------------------------------------------

def golden(args):
    rng = random.Random(29)
    texts = HARD + [tokenizer_parity.nasty(rng, PIECES)[:80] for _ in range(150)] + [line[:100] for line in book()[500_000:506_000].split("\n")[:20]]
    out = {"packages": f"sentencepiece {sentencepiece.__version__}, llama.cpp of llama-cpp-python 0.3.36", "texts": texts, "files": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, v, others in cases(MODELS):
            path = pathlib.Path(folder) / "file.gguf"
            write_gguf(path, v)
            packed = lzma.compress(path.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
            (TESTS / f"pieces-{name}.gguf.xz").write_bytes(packed)
            out["files"][name] = {"llama.cpp": llama_ids(args.llama, path, texts), "sentencepiece": others(texts) if others else None}
            print(f"{name}: {len(v['tokens'])} tokens, {len(packed)} bytes")
    packed = lzma.compress(json.dumps(out, separators=(",", ":")).encode(), preset=9 | lzma.PRESET_EXTREME)
    (TESTS / "pieces.json.xz").write_bytes(packed)
    print(f"pieces.json.xz: {len(packed)} bytes, {len(texts)} texts")
    return True


# ---- comparison --------------------------------------------------------------------------------

def report(name, who, texts, want, got):
    pairs = [(t, w, g) for t, w, g in zip(texts, want, got) if w is not None]
    wrong = [pair for pair in pairs if pair[1] != pair[2]]
    print(f"{name}: {len(pairs)} texts, {sum(len(w) for _, w, _ in pairs)} tokens, {len(wrong)} with other ids than {who}", flush=True)
    for text, w, g in wrong[:2]:
        print(f"  {ascii(text)}\n  {who}: {w}\n  pith: {g}")
    return not wrong


def byte_level(kind, name, training):
    """A vocabulary of bytes with one of the pre-tokenizers' names, from a kind of tokenizer_kinds.py."""
    spec = tokenizer_kinds.build(kind, training)
    vocab, added = spec["model"]["vocab"], {"<unk>": CONTROL, "<s>": CONTROL}
    tokens = sorted(vocab, key=vocab.get)
    return dict(tokens=tokens, types=[added.get(t, NORMAL) for t in tokens], merges=[" ".join(m) for m in spec["model"]["merges"]], pre=name)


def names(args, texts, folder):
    """The names that mean what llama.cpp does (gguf_pre.h), on code points that Python knows: llama.cpp's Unicode is older than pith's."""
    texts = [text for text in texts if all(unicodedata.category(c) != "Cn" for c in text)]
    training = tokenizer_kinds.training_texts(ROOT, tokenizer_parity.nasty)
    kinds = {"llama3": ("falcon-h1", "falcon3", "midm-2.0", "smaug-bpe", "llama-bpe"), "qwen2": ("deepseek-r1-qwen", "megrez"),
             "gpt2-split": ("a.x-4.0", "mellum", "trillion", "granite-docling", "gpt-2"), "granite": ("minerva-7b", "refact"),
             "deepseek-coder": ("deepseek-coder",)}
    good = True
    for kind, list_of_names in kinds.items():
        for name in list_of_names:
            path = pathlib.Path(folder) / "file.gguf"
            write_gguf(path, byte_level(kind, name, training))
            good &= report(name, "llama.cpp", texts, llama_ids(args.llama, path, texts), pith_ids(args.each, path, texts))
    return good


def json_of(model, prefix):
    """The tokenizer.json that transformers makes of a tokenizer.model of Llama 2's kind."""
    pieces = {model.IdToPiece(i): i for i in range(model.vocab_size())}
    cuts = [(a, b, model.GetScore(i)) for piece, i in pieces.items() if type_of(model, i) == NORMAL
            for a, b in sorted(((piece[:n], piece[n:]) for n in range(1, len(piece)) if piece[:n] in pieces and piece[n:] in pieces),
                               key=lambda cut: (pieces[cut[0]], pieces[cut[1]]))]
    cuts.sort(key=lambda cut: (cut[2], len(cut[0]), len(cut[1])), reverse=True)
    replace = tokenizer_kinds.replace(" ", MARK)
    normalizer = tokenizer_kinds.norm({"type": "Prepend", "prepend": MARK}, replace) if prefix else replace
    decoder = json.loads(json.dumps(tokenizer_kinds.LLAMA2_DECODER))
    decoder["decoders"] = decoder["decoders"] if prefix else decoder["decoders"][:-1]
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False)
    added = [dict(id=i, content=model.IdToPiece(i), special=True, **flags) for i in range(3)]
    added += [dict(id=len(pieces) + n, content=text, special=kind == CONTROL, **flags) for n, (text, kind) in enumerate(ADDED)]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer, "pre_tokenizer": None,
            "post_processor": None, "decoder": decoder,
            "model": {"type": "BPE", "dropout": None, **tokenizer_kinds.FALLBACK, "vocab": pieces, "merges": [[a, b] for a, b, _ in cuts]}}


def written(args, texts, folder):
    """tokenizer.json → pith convert → GGUF, read by pith and llama.cpp."""
    good = True
    for name, options in {**MODELS, **LARGE}.items():
        if not options["byte_fallback"]:
            continue
        source, path = pathlib.Path(folder) / "tokenizer.json", pathlib.Path(folder) / "model.gguf"
        source.write_text(json.dumps(json_of(train(options), options.get("add_dummy_prefix", True))))
        path.unlink(missing_ok=True)
        subprocess.run([args.pith, "convert", "--model", ROOT / "models" / "pith-13m-mamba1", "--tokenizer", source, "--to", "gguf", "--output", path],
                       check=True, stdout=subprocess.DEVNULL)
        package = tokenizers.Tokenizer.from_file(str(source))
        want = [package.encode(text, add_special_tokens=False).ids for text in texts]
        got = pith_ids(args.each, path, texts)
        good &= report(f"{name}, converted", "the tokenizers package", texts, want, got)
        good &= report(f"{name}, converted", "llama.cpp", texts, llama_ids(args.llama, path, texts), got)
    return good


def compare(args):
    rng = random.Random(31)
    texts = HARD + [tokenizer_parity.nasty(rng, PIECES) for _ in range(args.texts)] + book().split("\n")
    good = True
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "file.gguf"
        for name, v, others in cases({**MODELS, **LARGE}):
            write_gguf(path, v)
            got = pith_ids(args.each, path, texts)
            good &= report(name, "llama.cpp", texts, llama_ids(args.llama, path, texts), got)
            if others:
                good &= report(name, "sentencepiece", texts, others(texts), got)
        good &= names(args, texts, folder)
        if args.pith:
            good &= written(args, texts, folder)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("golden", "compare"))
    parser.add_argument("--llama", required=True, help="llama_ids, built")
    parser.add_argument("--each", default="bench_tokenize")
    parser.add_argument("--pith")
    parser.add_argument("--texts", type=int, default=10_000, help="generated strings")
    args = parser.parse_args()
    sys.exit(0 if {"golden": golden, "compare": compare}[args.action](args) else 1)


if __name__ == "__main__":
    main()
