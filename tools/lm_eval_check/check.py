"""Scores the shipped tasks with lm-evaluation-harness, by PyTorch or by pith.

    check.py --lm torch --write tests/eval/golden/lm_eval.json.xz    makes the golden values
    check.py --lm pith --pith build/pith                             the same metrics through pith
    check.py --lm http --url http://127.0.0.1:8080                   and through pith serve
    check.py --lm python --reduce skim                               and through the Python package
    check.py --lm python --reduce skim --eval build/cpu/pith         the same items by pith eval, too

--scores FILE writes every log-likelihood, so that two ways can be compared one by one.

The tasks are lm_eval's own (its YAML files, its prompts, its metrics); only the data come from
data/eval, so that nothing is fetched. README.md names the versions last used.
"""

import argparse
import importlib.metadata
import json
import lzma
import subprocess
import sys
import tempfile
from pathlib import Path

import lm_eval
from lm_eval.tasks._yaml_loader import load_yaml

ROOT = Path(__file__).resolve().parent.parent.parent
TASKS = Path(lm_eval.__file__).parent / "tasks"


def arc(row):
    """The hub's columns of ARC from the official file's."""
    choices = row["question"]["choices"]
    return {
        "question": row["question"]["stem"],
        "choices": {key: [c[key] for c in choices] for key in ("text", "label")},
        "answerKey": row["answerKey"],
    }


NATS = 1e-4  # a tenth of what shows in a table; equal arithmetic gives 0

# name: lm_eval's task file, ours in data/eval, and how a row becomes one of the hub's
SOURCES = {
    "lambada_openai": ("lambada/lambada_openai.yaml", "lambada_test", None),
    "hellaswag": ("hellaswag/hellaswag.yaml", "hellaswag_val", None),
    "piqa": ("piqa/piqa.yaml", "piqa_val", None),
    "arc_easy": ("arc/arc_easy.yaml", "ARC-Easy-Test", arc),
    "arc_challenge": ("arc/arc_challenge.yaml", "ARC-Challenge-Test", arc),
    "winogrande": ("winogrande/default.yaml", "winogrande_xl_dev", None),
}


def local_task(name, folder):
    """lm_eval's configuration of a task, reading a file in `folder` instead of the hub."""
    config_file, data_file, convert = SOURCES[name]
    config = load_yaml(TASKS / config_file)
    unpacked = Path(folder) / f"{name}.jsonl"
    with lzma.open(ROOT / "data/eval" / f"{data_file}.jsonl.xz", "rt", encoding="utf-8") as source:
        rows = [json.loads(line) for line in source]
    if convert:
        rows = [convert(row) for row in rows]
    unpacked.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    split = config.get("test_split") or config["validation_split"]
    config.pop("tag", None)
    config.update(
        dataset_path="json",
        dataset_name=None,
        dataset_kwargs={"data_files": {split: str(unpacked)}},
        training_split=None,
        fewshot_split=split,
        num_fewshot=0,
    )
    return config


def golden(lm, samples, metrics):
    """Requests of each document in order; a context equal to the one before is written as null."""
    recorded, documents = iter(lm.recorded), []
    for sample in sorted(samples, key=lambda s: s["doc_id"]):
        requests, before = [], None
        for _ in sample["arguments"]:
            context, continuation, logprob, greedy = next(recorded)
            shown = None if context == before else context
            requests.append([shown, continuation, round(logprob, 6), int(greedy)])
            before = context
        documents.append(requests)
    assert next(recorded, None) is None
    return {"metrics": metrics, "documents": documents}


def run(lm, name, limit):
    with tempfile.TemporaryDirectory() as folder:
        result = lm_eval.simple_evaluate(
            lm, tasks=[local_task(name, folder)], limit=limit, bootstrap_iters=2, log_samples=True
        )
    metrics = {
        key.removesuffix(",none"): value
        for key, value in result["results"][name].items()
        if isinstance(value, float) and "perplexity_stderr" not in key  # a bootstrap
    }
    return metrics, result["samples"][name]


def by_pith_eval(flags, names):
    """The shares of each item of each task from the journal of `pith eval`, items in order."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([flags.eval, "eval", "--model", flags.model, "--data", ROOT / "data",
                        "--tasks", ",".join(names), "--methods", flags.reduce,
                        "--limit", str(flags.limit), "--output", folder, "--quiet"],
                       check=True, stdout=subprocess.DEVNULL)
        lines = (Path(folder) / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    entries = sorted(map(json.loads, lines[1:]), key=lambda entry: int(entry["item"]))
    return {name: [[share[0] for share in e["shares"]] for e in entries if e["task"] == name]
            for name in names}


def compare(name, samples, shares):
    """The harness's figures of each document beside ours, in the order of the documents. False if
    an answer differs, or a log-likelihood by more than NATS."""
    if len(samples) != len(shares):
        sys.exit(f"{name}: got {len(shares)} items of pith eval, expected {len(samples)}")
    if name == "lambada_openai":  # -log-likelihood of the last word, whether it is the likeliest
        theirs = [[-float(s["resps"][0][0][0]), float(s["acc"])] for s in samples]
    else:
        theirs = [[float(s[metric]) for metric in ("acc", "acc_norm") if metric in s]
                  for s in samples]
    columns = list(zip(*theirs)), list(zip(*shares))
    if len(columns[0]) != len(columns[1]):
        sys.exit(f"{name}: got {len(columns[1])} metrics of pith eval, expected {len(columns[0])}")
    nats = 0.0
    if name == "lambada_openai":
        nats = max(abs(a - b) for a, b in zip(columns[0][0], columns[1][0]))
    answers = slice(1 if name == "lambada_openai" else 0, None)
    differ = sum(a != b for one, two in zip(columns[0][answers], columns[1][answers])
                 for a, b in zip(one, two))
    print(f"{name}: {len(samples)} items, pith eval: {differ} answers differ"
          + (f", log-likelihoods by up to {nats:.3g} nats" if name == "lambada_openai" else ""))
    return differ == 0 and nats <= NATS


def model(flags):
    """The model of --lm; each is imported alone, as PyTorch is wanted by one of them only."""
    if flags.lm == "python":
        from pith.lm_eval import PithLM
        return PithLM(flags.model, reduce=flags.reduce)
    import models
    if flags.lm == "torch":
        return models.TorchLM(flags.model)
    if flags.lm == "pith":
        return models.PithLM(flags.pith, flags.model, ["--reduce", flags.reduce])
    return models.http_lm(flags.url, flags.name or flags.model.name)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lm", choices=["torch", "pith", "http", "python"], required=True)
    parser.add_argument("--model", type=Path, default=ROOT / "models/pith-13m-mamba1")
    parser.add_argument("--pith", default="build/cpu/pith", help="the program, for --lm pith")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="of pith serve, for --lm http")
    parser.add_argument("--name", help="what the server calls the model, and #REDUCTION, for --lm http")
    parser.add_argument("--reduce", default="none", help="the reduction, for --lm python and pith")
    parser.add_argument("--tasks", default=",".join(SOURCES))
    parser.add_argument("--limit", type=int, default=200, help="documents of each task, 0: all")
    parser.add_argument("--write", type=Path, help="golden values (.json.xz), for --lm torch")
    parser.add_argument("--scores", type=Path, help="every log-likelihood (.json)")
    parser.add_argument("--eval", help="the program: compare with what pith eval says of each item")
    flags = parser.parse_args()
    if flags.write and flags.lm != "torch":
        sys.exit("--write: golden values are PyTorch's, give --lm torch")
    names = flags.tasks.split(",")
    expected = by_pith_eval(flags, names) if flags.eval else None
    agree = True
    lm = model(flags)
    out = {
        "format": 1,
        "model": flags.model.name,
        "tasks": {},
    }
    scores = {}
    for name in names:
        metrics, samples = run(lm, name, flags.limit or None)
        print(name, len(samples), json.dumps(metrics))
        in_order = sorted(samples, key=lambda sample: sample["doc_id"])
        scores[name] = [[float(r[0][0]) for r in sample["resps"]] for sample in in_order]
        if expected is not None:
            agree &= compare(name, in_order, expected[name])
        if flags.write:
            out["tasks"][name] = golden(lm, samples, metrics)
            lm.recorded.clear()
    if flags.scores:
        flags.scores.write_text(json.dumps(scores), encoding="utf-8")
    if flags.write:
        out["source"] = {p: importlib.metadata.version(p)
                         for p in ("lm_eval", "torch", "transformers")}
        text = json.dumps(out, separators=(",", ":"))
        flags.write.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
    if not agree:
        sys.exit("pith eval says something else")


if __name__ == "__main__":
    main()
