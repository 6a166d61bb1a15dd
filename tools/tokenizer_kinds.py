"""Small tokenizers of every kind that published Mamba models and hybrids ship, trained here.

Each kind has the pipeline (normalizer, pre-tokenizer, options of the model, post-processor, decoder)
of the models in its comment, and a vocabulary of some hundred tokens.
"""
import json
import random

from tokenizers import Tokenizer, models, trainers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def level(prefix=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def split(pattern, behavior="Isolated", invert=False, key="Regex"):
    return {"type": "Split", "pattern": {key: pattern}, "behavior": behavior, "invert": invert}


def sequence(kind, *parts):
    return {"type": "Sequence", kind: list(parts)}


def pre(*parts):
    return sequence("pretokenizers", *parts)


def norm(*parts):
    return sequence("normalizers", *parts)


def replace(pattern, content, key="String"):
    return {"type": "Replace", "pattern": {key: pattern}, "content": content}


def metaspace(scheme, cut):
    return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": cut}


FALLBACK = {"byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}
LLAMA2_DECODER = sequence("decoders", replace("\u2581", " "), {"type": "ByteFallback"}, {"type": "Fuse"},
                          {"type": "Strip", "content": " ", "start": 1, "stop": 0})
ROBERTA = {"type": "RobertaProcessing", "sep": ["<s>", 0], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": False}

# What differs from: no normalizer, ByteLevel before and after, no options.
KINDS = {
    # GPT-2 and RoBERTa
    "gpt2": {"pre_tokenizer": level(prefix=True), "model": {"unk_token": "<unk>"}, "post_processor": ROBERTA},
    # The same by a pattern; DCLM and others
    "gpt2-split": {"pre_tokenizer": pre(split(GPT2), level(regex=False))},
    # Llama-3, Bamba
    "llama3": {"pre_tokenizer": pre(split(LLAMA3), level(regex=False)), "model": {"ignore_merges": True}},
    # Qwen2
    "qwen2": {"normalizer": {"type": "NFC"}, "pre_tokenizer": pre(split(QWEN2), level(regex=False))},
    # Falcon-Mamba
    "falcon": {"pre_tokenizer": pre({"type": "Punctuation", "behavior": "Contiguous"}, level(), {"type": "Digits", "individual_digits": False},
                                    split("[0-9][0-9][0-9]"))},
    # Granite, StarCoder
    "granite": {"pre_tokenizer": pre({"type": "Digits", "individual_digits": True}, level())},
    # Nemotron-H, Tekken
    "tekken": {"pre_tokenizer": pre(split(TEKKEN), level(regex=False)), "model": {"ignore_merges": True}},
    # Falcon-H1, DeepSeek
    "deepseek": {"pre_tokenizer": pre(split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK), level(regex=False))},
    "deepseek-coder": {"pre_tokenizer": pre(split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-퟿]+"),
                                            {"type": "Digits", "individual_digits": True}, level(regex=False))},
    # Where dialects of patterns differ
    "first-word": {"pre_tokenizer": pre(split(r"^\w+"), level(regex=False))},
    "dialect": {"pre_tokenizer": pre(split(r"[\w&&[^\d]]+"), split(r"\h+", "Contiguous"), split(r"\s$|^\S", "MergedWithNext"), level(regex=False))},
    # Codestral-Mamba, Jamba
    "codestral": {"pre_tokenizer": metaspace("first", False), "model": FALLBACK, "decoder": LLAMA2_DECODER},
    # Zamba2, Llama-2
    "zamba2": {"normalizer": norm({"type": "Prepend", "prepend": "\u2581"}, replace(" ", "\u2581")), "pre_tokenizer": None,
               "model": FALLBACK, "decoder": LLAMA2_DECODER},
    "metaspace": {"pre_tokenizer": metaspace("always", True), "model": {"unk_token": "<unk>", "fuse_unk": True},
                  "decoder": metaspace("always", True)},
    "metaspace-never": {"normalizer": norm({"type": "NFD"}, replace(r"\s{2,}", " ", "Regex")), "pre_tokenizer": metaspace("never", True),
                        "model": {"unk_token": "<unk>"}, "decoder": metaspace("never", True)},
    "words": {"normalizer": norm({"type": "NFKC"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": True}),
              "pre_tokenizer": {"type": "Whitespace"}, "model": {"unk_token": "<unk>"}, "decoder": None,
              "without": "   "},  # normalised to nothing, on which the package fails
    "bert": {"normalizer": norm({"type": "NFKD"}, {"type": "StripAccents"}), "pre_tokenizer": {"type": "BertPreTokenizer"},
             "model": {"unk_token": "<unk>", "fuse_unk": True, "end_of_word_suffix": "</w>"}, "decoder": None},
    "prefixed": {"pre_tokenizer": {"type": "WhitespaceSplit"}, "model": {"unk_token": "<unk>", "continuing_subword_prefix": "##"}, "decoder": None},
    "splits": {"pre_tokenizer": pre(split("a", "MergedWithPrevious", key="String"), {"type": "CharDelimiterSplit", "delimiter": "."},
                                    split(r"\p{L}+", "Removed", invert=True), {"type": "Punctuation", "behavior": "Removed"}, split("é|", "Contiguous"))},
    "merged": {"pre_tokenizer": pre({"type": "Punctuation", "behavior": "MergedWithNext"}, split("[ e]", "MergedWithPrevious", invert=True), level())},
}

ADDED = [("<unk>", "special"), ("<s>", "special"), ("<|im_start|>", "special"), ("[L]", "lstrip"), ("[R]", "special rstrip"),
         ("word", "single_word"), ("Éa", "normalized"), ("   ", "normalized"), ("<both>", "lstrip rstrip normalized")]
# What generated texts must hold to reach these kinds.
PIECES = [content for content, _ in ADDED] + [
    "\u2581", "\u2581\u2581a", "<0x41>", "##", "</w>", "words", " word ", "  [R]  ", " \n[L]", "É", "a", "1234567", "12.5", "1,000", "((", "--", "a.b", "e",
    "\u00b2\u00bd", "\u4e00\u4e8c", "\u3042", "\uac00", "\ufb01", "\u0130", "ǅ", "ß", "\u01c5", "\U00010400", "ff", "0xFF"]


def build(kind, texts):
    """A tokenizer.json of this kind, as an object."""
    recipe = KINDS[kind]
    options = recipe.get("model", {})
    spec = {"version": "1.0", "truncation": {"direction": "Right", "max_length": 9, "strategy": "LongestFirst", "stride": 0},
            "padding": None, "added_tokens": [], "normalizer": recipe.get("normalizer"),
            "pre_tokenizer": recipe.get("pre_tokenizer", level()), "post_processor": recipe.get("post_processor"),
            "decoder": recipe.get("decoder", level()), "model": {"type": "BPE", "vocab": {}, "merges": []}}
    trained = Tokenizer.from_str(json.dumps(spec))
    trained.no_truncation()
    byte_level = '"ByteLevel"' in json.dumps(spec["pre_tokenizer"])
    alphabet = byte_chars() if byte_level else []
    affixes = {k: options[k] for k in ("continuing_subword_prefix", "end_of_word_suffix") if k in options}
    trained.model = models.BPE(**affixes)
    special = ["<unk>", "<s>"] + ([f"<0x{b:02X}>" for b in range(256)] if options.get("byte_fallback") else [])
    size = len(alphabet) + len(special) + 300
    trained.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet,
                                                           limit_alphabet=256 if byte_level else 120, show_progress=False, **affixes))
    spec["model"] = json.loads(trained.to_str())["model"]
    spec["model"].update(options)
    if options.get("ignore_merges"):  # tokens that only whole words reach
        pairs = spec["model"]["merges"]
        spec["model"]["merges"] = [p for i, p in enumerate(pairs) if i % 7]
        merged = {a + b for a, b in spec["model"]["merges"]} | set(spec["model"]["vocab"])
        spec["model"]["merges"] = [p for p in spec["model"]["merges"] if p[0] in merged and p[1] in merged]
    vocab = spec["model"]["vocab"]
    ids = dict(vocab)
    for content, flags in sorted(ADDED, key=lambda a: "special" not in a[1]):
        if content == recipe.get("without"):
            continue
        number = ids.setdefault(content, len(ids))
        flags = {f: f in flags.split() for f in ("single_word", "lstrip", "rstrip", "normalized", "special")}
        spec["added_tokens"].append({"id": number, "content": content, **flags})
    return spec


def byte_chars():
    printable = [b for b in range(256) if 33 <= b <= 126 or (b >= 161 and b != 173)]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(256 - len(printable))]


def training_texts(root, nasty):
    """The project's own pages, and generated text of many scripts."""
    rng = random.Random(5)
    pages = [p.read_text() for p in sorted(root.glob("*.md")) + sorted((root / "docs").glob("*.md"))]
    return pages + [nasty(rng) for _ in range(3000)]
