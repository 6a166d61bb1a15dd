"""What it costs in quality to reduce a context in pieces: nats a token of what follows, read whole,
beside those without a reduction. README.md. Standard library alone."""

import argparse
import lzma
import math

from chat import post, serving


def score(url, ids, tail, reduce, piece):
    """Nats a token over the last `tail` ids, and the realised reduction."""
    answer = post(url, "/v1/completions", {
        "prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 0,
        "pith": {"reduce": reduce, "protect": tail, "piece": piece}})
    scores = answer["choices"][0]["logprobs"]["token_logprobs"][-tail:]
    return -sum(scores) / tail, answer["usage"]["pith"]["realised"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pith", default="build/cpu/pith")
    parser.add_argument("--model", default="models/pith-27m-mamba2")
    parser.add_argument("--text", default="data/text/heldout-1mb.txt.xz")
    parser.add_argument("--reduce", nargs="+", default=["utrc@20%", "skim@20%", "stride@20%"])
    parser.add_argument("--pieces", type=int, nargs="+", default=[0, 1024, 512, 256])
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--tail", type=int, default=256)
    options = parser.parse_args()
    with serving(options, 0) as url, lzma.open(options.text, "rt") as file:
        ids = post(url, "/tokenize", {"prompt": file.read()})["tokens"]
        length = options.context + options.tail
        stride = (len(ids) - length) // options.windows
        windows = [ids[w * stride:w * stride + length] for w in range(options.windows)]
        base = [score(url, window, options.tail, "none", 0)[0] for window in windows]
        print(f"without a reduction: {sum(base) / len(base):.4f} nats a token, {len(base)} windows\n\n"
              "| reduction | piece | nats more | standard error | realised |\n|---|" + "---:|" * 4)
        for reduce in options.reduce:
            for piece in options.pieces:
                got = [score(url, window, options.tail, reduce, piece) for window in windows]
                more = [nats - b for (nats, _), b in zip(got, base)]
                mean = sum(more) / len(more)
                error = math.sqrt(sum((m - mean) ** 2 for m in more) / (len(more) - 1) / len(more))
                print(f"| {reduce} | {piece} | {mean:+.4f} | {error:.4f} | "
                      f"{sum(r for _, r in got) / len(got):.3f} |", flush=True)
