"""What it costs in quality to reduce a context in pieces: nats a token of what follows, read whole,
beside those without a reduction; or, with --recall, the share of facts that are answered. README.md.
Standard library alone."""

import argparse
import json
import lzma
import math

from chat import post, serving


def tokens(url, text):
    return post(url, "/tokenize", {"prompt": text})["tokens"]


def score(url, ids, tail, reduce, piece):
    """Nats a token over the last `tail` ids, and the realised reduction."""
    answer = post(url, "/v1/completions", {
        "prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 0,
        "pith": {"reduce": reduce, "protect": tail, "piece": piece}})
    scores = answer["choices"][0]["logprobs"]["token_logprobs"][-tail:]
    return -sum(scores) / tail, answer["usage"]["pith"]["realised"]


def settings(options):
    return [(reduce, piece) for reduce in options.reduce for piece in options.pieces]


def mean_and_error(values):
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def perplexity(url, options):
    with lzma.open(options.text, "rt") as file:
        ids = tokens(url, file.read())
    length = options.context + options.tail
    stride = (len(ids) - length) // options.windows
    windows = [ids[w * stride:w * stride + length] for w in range(options.windows)]
    base = [score(url, window, options.tail, "none", 0)[0] for window in windows]
    print(f"without a reduction: {sum(base) / len(base):.4f} nats a token, {len(base)} windows\n\n"
          "| reduction | piece | nats more | standard error | realised |\n|---|" + "---:|" * 4)
    for reduce, piece in settings(options):
        got = [score(url, window, options.tail, reduce, piece) for window in windows]
        mean, error = mean_and_error([nats - b for (nats, _), b in zip(got, base)])
        print(f"| {reduce} | {piece} | {mean:+.4f} | {error:.4f} | "
              f"{sum(r for _, r in got) / len(got):.3f} |", flush=True)


def answered(url, item, reduce, piece):
    """The share of an item's questions whose answer is written, greedily."""
    context = tokens(url, item["context"])
    right = 0
    for question in item["questions"]:
        ids = tokens(url, question["prompt"])
        answer = post(url, "/v1/completions", {
            "prompt": context + ids, "max_tokens": len(tokens(url, question["answer"])),
            "temperature": 0, "pith": {"reduce": reduce, "protect": len(ids), "piece": piece}})
        right += answer["choices"][0]["text"] == question["answer"]
    return right / len(item["questions"])


def recall(url, options):
    with lzma.open(options.items, "rt") as file:
        items = [json.loads(line) for line in file][:options.recall]
    print(f"{len(items)} contexts\n\n| reduction | piece | answered | standard error |\n|---|" +
          "---:|" * 3)
    for reduce, piece in [("none", 0), *settings(options)]:
        mean, error = mean_and_error([answered(url, item, reduce, piece) for item in items])
        print(f"| {reduce} | {piece} | {100 * mean:.1f} % | {100 * error:.1f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pith", default="build/cpu/pith")
    parser.add_argument("--model", default="models/pith-27m-mamba2")
    parser.add_argument("--text", default="data/text/heldout-1mb.txt.xz")
    parser.add_argument("--items", default="data/recall/recall-1.8k.jsonl.xz")
    parser.add_argument("--reduce", nargs="+", default=["utrc@20%", "skim@20%", "stride@20%"])
    parser.add_argument("--pieces", type=int, nargs="+", default=[0, 1024, 512, 256])
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--tail", type=int, default=256)
    parser.add_argument("--recall", type=int, metavar="N", help="contexts of --items, in place of the text")
    options = parser.parse_args()
    with serving(options, 256 << 20) as url:
        recall(url, options) if options.recall else perplexity(url, options)
