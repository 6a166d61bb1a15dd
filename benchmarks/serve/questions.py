"""Questions about one long text, which is reduced: how long each takes where its state is kept, and
where it is not. README.md. Standard library alone."""

import argparse
import json
import random
import time

from chat import post, serving
from load import prompt


def ask(options, memory):
    rng = random.Random(1)
    answers = []
    with serving(options, memory) as url:
        def tokens(words):
            return post(url, "/tokenize", {"prompt": prompt(rng, words)})["tokens"]

        context = tokens(options.words)
        for _ in range(options.questions):
            question = tokens(20)
            body = {"prompt": context + question, "max_tokens": 8, "temperature": 0,
                    "pith": {"reduce": options.reduce, "protect": len(question)}}
            start = time.perf_counter()
            answer = post(url, "/v1/completions", body)
            answers.append({"text": answer["choices"][0]["text"],
                            "tokens": answer["usage"]["prompt_tokens"],
                            "cached": answer["usage"]["prompt_tokens_details"]["cached_tokens"],
                            "seconds": round(time.perf_counter() - start, 3)})
    return answers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pith", default="build/cpu/pith")
    parser.add_argument("--model", default="models/pith-27m-mamba2")
    parser.add_argument("--reduce", default="utrc@20%")
    parser.add_argument("--words", type=int, default=6000, help="of the text")
    parser.add_argument("--questions", type=int, default=5)
    options = parser.parse_args()
    kept, none = ask(options, 256 << 20), ask(options, 0)
    assert [a["text"] for a in kept] == [a["text"] for a in none], "the answers differ"
    print(json.dumps({"tokens": [a["tokens"] for a in kept], "cached": [a["cached"] for a in kept],
                      "seconds": [a["seconds"] for a in kept],
                      "seconds_nothing_kept": [a["seconds"] for a in none]}, indent=1))
