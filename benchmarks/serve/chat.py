"""A chat of many turns against `pith serve`: how many tokens each turn reads. README.md.
Standard library alone."""

import argparse
import contextlib
import json
import random
import subprocess
import time
import urllib.request

from load import prompt


def post(url, path, body):
    request = urllib.request.Request(url + path, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


@contextlib.contextmanager
def serving(options, memory):
    """A server's address, for as long as the block runs."""
    server = subprocess.Popen([options.pith, "serve", "--model", options.model, "--port", "0", "-q",
                               "--state-memory", str(memory)], stdout=subprocess.PIPE, text=True)
    try:
        yield server.stdout.readline().split(" at ")[1].strip()
    finally:
        server.terminate()
        server.wait()


def chat(options, memory):
    rng = random.Random(1)
    messages, turns = [], []
    with serving(options, memory) as url:
        for _ in range(options.turns):
            messages.append({"role": "user", "content": prompt(rng, options.words)})
            body = {"messages": messages, "max_tokens": options.tokens, "temperature": 0}
            if options.reduce:
                body["pith"] = {"reduce": options.reduce}
            start = time.perf_counter()
            answer = post(url, "/v1/chat/completions", body)
            seconds = time.perf_counter() - start
            messages.append(answer["choices"][0]["message"])
            usage = answer["usage"]
            turns.append((usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"],
                          usage["completion_tokens"], seconds, messages[-1]["content"]))
    return turns


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pith", default="build/cpu/pith")
    parser.add_argument("--model", default="models/pith-27m-mamba2")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--words", type=int, default=100, help="of each message")
    parser.add_argument("--tokens", type=int, default=16, help="written by each turn")
    parser.add_argument("--reduce", help="a reduction, such as utrc@20%%:piece=512,protect=64")
    options = parser.parse_args()
    kept, none = chat(options, 256 << 20), chat(options, 0)
    assert [t[4] for t in kept] == [t[4] for t in none], "the answers differ"
    print("| turn | tokens of the chat | new since the last | read | seconds | read, nothing kept | seconds |\n" +
          "|---:" * 7 + "|")
    before = 0
    for i, (a, b) in enumerate(zip(kept, none)):
        new = a[0] - before
        read = a[0] - a[1]
        # At most the new ones, the rest of the last block of 64, and where prompts first part one more.
        assert options.reduce or read <= new + a[2] + 2 * 64, (i, read, new)
        print(f"| {i + 1} | {a[0]} | {new} | {read} | {a[3]:.2f} | {b[0] - b[1]} | {b[3]:.2f} |")
        before = a[0]
    print(f"read in all: {sum(t[0] - t[1] for t in kept)} of {sum(t[0] for t in none)}; tokens of the "
          f"last turn: {kept[-1][0]}")
