"""Generates the golden values of tests/golden: small models and what they must compute.

Run from the repository's root:  python tools/golden/generate.py --out tests/golden
Needs torch, transformers, safetensors and tokenizers; runs on one CPU core in half a minute.
tests/golden/README.md describes the format of expected.json and the versions last used.

Every value is computed in float64. The same computation in float32 gives `peer_error`, the error
that a careful float32 implementation has on these inputs.
"""

import argparse
import contextlib
import copy
import functools
import hashlib
import json
import lzma
import shutil
from pathlib import Path

import tokenizers
import torch
import torch.nn.functional as F
import transformers

import blocks
import cases
import mamba_reference

LENGTHS = [1, 2, 3, 7, 31, 64, 65, 130]
ALL_ROWS_UP_TO = 31  # longer sequences store the logits of their last rows only
LAST_ROWS = 4
BATCH, BATCH_LENGTH = 3, 9
PREFIXES, STEPS = [1, 2, 19, 64], 6
SHIPPED = ["pith-27m-mamba2", "pith-13m-mamba1"]
SHIPPED_TOKENS, SHIPPED_TOP, WINDOW = 301, 20, 512


@contextlib.contextmanager
def float64_math():
    """transformers casts to float32 inside its layers; within this context it casts to float64."""
    to_float, float32 = torch.Tensor.float, torch.float32
    torch.Tensor.float, torch.float32 = torch.Tensor.double, torch.float64
    try:
        yield
    finally:
        torch.Tensor.float, torch.float32 = to_float, float32


class HfPeer:
    """transformers' forward in float32, or in float64 throughout."""

    def __init__(self, model, exact):
        self.context = float64_math if exact else contextlib.nullcontext
        self.model = copy.deepcopy(model).double() if exact else model

    @torch.no_grad()
    def forward(self, ids):
        with self.context():
            return self.model(torch.tensor(ids), use_cache=False).logits

    @torch.no_grad()
    def decode(self, prefix, steps):
        """Logits after the prefix and after each step, with transformers' cache."""
        with self.context():
            output = self.model(torch.tensor([prefix]), use_cache=True)
            rows = [output.logits[0, -1]]
            for token in steps:
                output = self.model(torch.tensor([[token]]), cache_params=output.cache_params)
                rows.append(output.logits[0, -1])
        return torch.stack(rows)


class ReferencePeer:
    def __init__(self, directory, exact):
        self.model = mamba_reference.load(directory, torch.float64 if exact else torch.float32)

    def forward(self, ids):
        return torch.stack([self.model.logits(row) for row in ids])

    def decode(self, prefix, steps):
        return self.model.logits(prefix + steps)[len(prefix) - 1 :]


class Comparison:
    """Values of the exact peer; keeps the largest distance of the float32 peer from them."""

    def __init__(self, exact, peer):
        self.exact, self.peer, self.errors, self.scale = exact, peer, {}, 0.0

    def logits(self, run):
        """`run` maps a peer to a tensor of logits."""
        return self.note("logits", run(self.exact), run(self.peer))

    def note(self, what, exact, other):
        error = (exact - other.double()).abs().max().item() if exact.numel() else 0.0
        self.errors[what] = max(self.errors.get(what, 0.0), error)
        self.scale = max(self.scale, exact.abs().max().item()) if what == "logits" else self.scale
        return exact


def next_token_logprobs(logits, ids):
    """[T, V] logits -> [T - 1] log-probabilities of ids[1:]."""
    targets = torch.as_tensor(ids[1:])[:, None]
    return F.log_softmax(logits[:-1].double(), -1).gather(1, targets)[:, 0]


def sequence(ids, exact, peer_logits, comparison):
    comparison.note("logits", exact, peer_logits)
    logprobs = next_token_logprobs(exact, ids)
    comparison.note("logprobs", logprobs, next_token_logprobs(peer_logits, ids))
    first = 0 if len(ids) <= ALL_ROWS_UP_TO else len(ids) - LAST_ROWS
    return {"ids": ids, "first_row": first, "logits": exact[first:], "logprobs": logprobs}


def expected_values(name, comparison, generator, decode_with_cache=True):
    def draw(*shape):
        return torch.randint(cases.VOCAB, shape, generator=generator).tolist()

    def sequences(batch):
        exact, peer = comparison.exact.forward(batch), comparison.peer.forward(batch)
        return [sequence(*item, comparison) for item in zip(batch, exact, peer, strict=True)]

    def decode(peer, prefix, steps):
        if decode_with_cache:
            return peer.decode(prefix, steps)
        return peer.forward([prefix + steps])[0, len(prefix) - 1 :]

    result = {"format": 1, "case": name}
    result["sequences"] = [s for n in LENGTHS for s in sequences(draw(1, n))]
    result["batch"] = sequences(draw(BATCH, BATCH_LENGTH))
    result["decode"] = []
    for n in PREFIXES:
        prefix, steps = draw(n), draw(STEPS)
        logits = comparison.logits(functools.partial(decode, prefix=prefix, steps=steps))
        result["decode"].append({"prefix": prefix, "steps": steps, "logits": logits})
    return result


def write_expected(directory, result, comparison, source):
    head = {"format": result.pop("format"), "case": result.pop("case"), "source": source}
    head |= {"vocab_rows": result.pop("vocab_rows"), "logit_scale": comparison.scale}
    head |= {"peer_error": comparison.errors}
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(rounded(head | result), separators=(",", ":"))
    (directory / "expected.json").write_text(text.replace('},{"', '},\n{"') + "\n")
    print(f"{directory.name}: scale {comparison.scale:.3g}, float32 error {comparison.errors}")


def rounded(value):
    """Tensors to lists; float64 to float32 to the nine digits that bring the float32 back."""
    if isinstance(value, torch.Tensor):
        return rounded(value.double().tolist())
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    if isinstance(value, float):
        return float(f"{torch.tensor(value, dtype=torch.float32).item():.9g}")
    return value


def require_every_tensor_matters(directory, error):
    """A tensor that could be left out unnoticed would make the golden values weak."""
    model = mamba_reference.load(directory)
    ids, generator = list(range(40)), seeded("noise")
    base = model.logits(ids)
    for name, value in model.weights.items():
        model.weights[name] = value * (1 + 0.1 * torch.randn(value.shape, generator=generator))
        change = (model.logits(ids) - base).abs().max().item()
        assert change > 100 * error, f"{directory.name}: {name} moves logits by {change} only"
        model.weights[name] = value


def seeded(name):
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    return torch.Generator().manual_seed(seed)


def generate_hf(out, name):
    model_type, options, max_shard_size = cases.HF_CASES[name]
    generator = seeded(name)
    model = cases.make_hf(out / name, model_type, options, max_shard_size, generator)
    if name == "hf-mamba2-groups1":
        cases.as_transformers_4(out / name)
    comparison = Comparison(HfPeer(model, True), HfPeer(model, False))
    # transformers' cached step leaves out the clamp of dt that its prefill applies.
    clamped = "time_step_limit" in options
    result = expected_values(name, comparison, generator, decode_with_cache=not clamped)
    own = mamba_reference.load(out / name)
    longest = result["sequences"][-1]
    difference = (own.logits(longest["ids"])[-LAST_ROWS:] - longest["logits"]).abs().max().item()
    print(f"{name}: mamba_reference differs from transformers in float64 by {difference:.2g}")
    assert difference < 1e-9
    result |= {"vocab_rows": cases.VOCAB}
    write_expected(out / name, result, comparison, f"transformers {type(model).__name__}, float64")
    require_every_tensor_matters(out / name, comparison.errors["logits"])


def generate_blocks(out, name):
    generator = seeded(name)
    model = blocks.make(out / name, name, generator)
    exact = blocks.Peer(copy.deepcopy(model).double(), float64_math)
    comparison = Comparison(exact, blocks.Peer(model, contextlib.nullcontext))
    # Nemotron-H's and Zamba2's cached steps leave out the lower bound of dt that prefill applies.
    cached = not name.startswith(("hf-nemotron-h", "hf-zamba2"))
    result = expected_values(name, comparison, generator, decode_with_cache=cached)
    result |= {"vocab_rows": cases.VOCAB}
    write_expected(out / name, result, comparison, f"transformers {type(model).__name__}, float64")
    error = comparison.errors["logits"]
    blocks.require_every_tensor_matters(name, exact, error, seeded("noise"))


def generate_ssm(out, name):
    generator = seeded(name)
    cases.make_ssm(out / name, *cases.SSM_CASES[name], generator)
    comparison = Comparison(ReferencePeer(out / name, True), ReferencePeer(out / name, False))
    result = expected_values(name, comparison, generator)
    result["vocab_rows"] = len(comparison.exact.model.weights["embedding.weight"])
    write_expected(out / name, result, comparison, "mamba_reference.py, float64")
    require_every_tensor_matters(out / name, comparison.errors["logits"])


def generate_shipped(out, name, tokens):
    comparison = Comparison(
        ReferencePeer(f"models/{name}", True), ReferencePeer(f"models/{name}", False)
    )
    ids = tokens[0][:SHIPPED_TOKENS]
    exact, peer = comparison.exact.forward([ids])[0], comparison.peer.forward([ids])[0]
    text = sequence(ids, exact, peer, comparison)
    top = text.pop("logits")[-1].topk(SHIPPED_TOP)
    del text["first_row"]
    text |= {"nll": -text["logprobs"].mean().item()}
    text |= {"last_top": {"ids": top.indices.tolist(), "logits": top.values}}
    result = {"format": 1, "case": name, "text": text, "windows": []}
    result["vocab_rows"] = exact.shape[-1]
    for window in (t[:WINDOW] for t in tokens[1:]):
        nll = -next_token_logprobs(comparison.exact.forward([window])[0], window).mean().item()
        result["windows"].append({"ids": window, "nll": nll})
    write_expected(out / name, result, comparison, "mamba_reference.py, float64")


def shipped_tokens():
    """Token ids of three recall contexts, each after the separator, id 0."""
    tokenizer = tokenizers.Tokenizer.from_file(f"models/{SHIPPED[0]}/tokenizer.json")
    items = lzma.open("data/recall/recall-1.8k.jsonl.xz", "rt").read().splitlines()
    return [[0, *tokenizer.encode(json.loads(items[i])["context"]).ids] for i in range(3)]


def main():
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()  # its notes that no fused kernel is installed
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="names of cases; default: all")
    args = parser.parse_args()
    torch.set_num_threads(1)
    known = [*cases.HF_CASES, *blocks.CASES, *cases.SSM_CASES, *SHIPPED]
    for name in args.only or known:
        assert name in known, f"unknown case {name}; known: {', '.join(known)}"
        shutil.rmtree(args.out / name, ignore_errors=True)
        if name in cases.HF_CASES:
            generate_hf(args.out, name)
        elif name in blocks.CASES:
            generate_blocks(args.out, name)
        elif name in cases.SSM_CASES:
            generate_ssm(args.out, name)
        else:
            generate_shipped(args.out, name, shipped_tokens())


if __name__ == "__main__":
    main()
