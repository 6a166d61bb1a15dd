#!/usr/bin/env python3
"""Measures pith beside llama.cpp, and transformers, on the CPU in one run: see README.md beside this file.

    cpu_bench.py --llama DIR [--pith build/cpu/pith] [--transformers PYTHON] [--out out/peers]
                 [--models mamba2-130m,mamba-130m,models/pith-27m-mamba2,models/pith-13m-mamba1]
                 [--weights f32,16,8] [--threads 1,2] [--prompt 512] [--decode 32] [--repeats 5]

The programs take turns within every repeat. Writes OUT/peers.json, with every repeat, and
OUT/peers.md, the table.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

import gguf_model
import granite_model

HERE = pathlib.Path(__file__).resolve().parent
# What the table compares at each width: weights of pith, and files of llama.cpp, whose faster one
# counts.
WIDTHS = {"f32": ("f32", ("f32",)), "16": ("bf16", ("bf16", "f16")), "8": ("int8", ("q8_0",))}


def run(command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False,
                          **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        lines = file.read().splitlines()
    name = next((l.split(": ", 1)[1] for l in lines if l.startswith("model name")), "unknown")
    flags = next((l.split() for l in lines if l.startswith("flags")), [])
    return name, [f for f in ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "amx_tile")
                  if f in flags]


class Models:
    """Files of the models, made once and kept in the folder of the results."""

    def __init__(self, args):
        self.args = args
        self.folder = pathlib.Path(args.out) / "models"
        self.folder.mkdir(parents=True, exist_ok=True)

    def gguf(self, model, dtype):
        path = self.folder / f"{pathlib.Path(model).name}-{dtype}.gguf"
        if path.exists():
            return path
        print("making", path, file=sys.stderr)
        new = path.with_suffix(".tmp.gguf")
        if model in granite_model.SHAPES and dtype != "q8_0":
            run([self.args.pith, "convert", "--model", self.granite(model), "--to", "gguf",
                 "--weights", dtype, "--output", new])
        elif dtype == "q8_0":
            run([self.args.llama / "llama-quantize", self.gguf(model, "f32"), new, "q8_0"])
        else:
            gguf_model.write_gguf(gguf_model.open_source(model), new, dtype)
        new.rename(path)
        return path

    def granite(self, name):
        path = self.folder / name
        if not path.exists():
            print("making", path, file=sys.stderr)
            new = path.with_name(name + ".tmp")
            granite_model.write(name, new)
            new.rename(path)
        return path

    def pith(self, model, weights):
        """What pith bench is told. Shipped weights are bf16; an f32 copy of them is made."""
        if model in gguf_model.SHAPES or model in granite_model.SHAPES:
            return ["--shape", model, "--weights", weights]
        if weights == "f32":
            path = self.folder / f"{pathlib.Path(model).name}-f32"
            if not (path / "model.safetensors").exists():
                gguf_model.write_wide(gguf_model.open_source(model), path)
            return ["--model", path]
        return ["--model", model] + (["--weights", weights] if weights == "int8" else [])


class Peers:
    def __init__(self, args):
        self.args = args
        self.models = Models(args)
        self.has_int8 = "int8" in run([args.pith, "bench", "--help"])
        self.has_bf16 = "avx512_bf16" in processor()[1]
        self.versions = {}

    def pith(self, model, weights, threads):
        if weights == "int8" and not self.has_int8:
            return None
        a = self.args
        dtype = "bf16" if weights == "bf16" and self.has_bf16 else "f32"
        out = json.loads(run([a.pith, "bench", "--json", "--quiet", "--repeats", 1, "--prompt",
                              a.prompt, "--decode", a.decode, "--threads", threads, "--dtype", dtype]
                             + self.models.pith(model, weights)))
        self.versions["pith"] = out["build"].splitlines()[0]
        row = out["rows"][0]
        return {"prefill": row["prefill_tokens_per_second"],
                "decode": row["decode_tokens_per_second"],
                "decode_gb": row["step_gbytes"] * row["decode_tokens_per_second"],
                "products": row["product_share"], "copies_gb": out["rates"]["gb_per_second"],
                "gflop": out["rates"]["gflop_per_second"]}

    def llama(self, model, dtype, threads):
        a = self.args
        rows = json.loads(run([a.llama / "llama-bench", "-m", self.models.gguf(model, dtype), "-p",
                               a.prompt, "-n", a.decode, "-t", threads, "-r", 1, "-o", "json"]))
        self.versions["llama.cpp"] = a.llama_version or rows[0]["build_commit"]
        return {"prefill": next(r["avg_ts"] for r in rows if r["n_prompt"]),
                "decode": next(r["avg_ts"] for r in rows if r["n_gen"])}

    def transformers(self, model, dtype, threads):
        a = self.args
        out = json.loads(run([a.transformers, HERE / "transformers_bench.py", model, "--dtype",
                              dtype, "--threads", threads, "--prompt", a.prompt, "--decode",
                              a.decode]).splitlines()[-1])
        self.versions["transformers"] = out.pop("version")
        return out

    def contenders(self, model, width, threads):
        weights, files = WIDTHS[width]
        list_of = [("pith", lambda: self.pith(model, weights, threads))]
        list_of += [(f"llama.cpp {f}", lambda f=f: self.llama(model, f, threads)) for f in files]
        if self.args.transformers and width != "8" and model not in granite_model.SHAPES:
            list_of.append(("transformers", lambda: self.transformers(model, weights, threads)))
        return list_of

    def measure(self, model, width, threads):
        contenders = self.contenders(model, width, threads)
        repeats = {name: [] for name, _ in contenders}
        for _ in range(self.args.repeats):
            for name, once in contenders:
                result = once()
                if result is not None:
                    repeats[name].append(result)
        return {"model": model, "weights": width, "threads": threads, "repeats": repeats}


def median(case, name, what):
    values = [r[what] for r in case["repeats"].get(name, []) if r.get(what) is not None]
    return statistics.median(values) if values else None


def best(case, prefix, what):
    found = [median(case, name, what) for name in case["repeats"] if name.startswith(prefix)]
    return max((f for f in found if f is not None), default=None)


def cell(value, digits):
    return "–" if value is None else f"{value:.{digits}f}"


def ratio(a, b):
    return "–" if a is None or b is None else f"**{a / b:.2f}**"


def table(cases, what):
    lines = [f"| model | weights | threads | pith | llama.cpp | × | transformers | × |",
             "|---|---|---|---|---|---|---|---|"]
    for case in cases:
        ours, llama = median(case, "pith", what), best(case, "llama.cpp", what)
        torch = median(case, "transformers", what)
        lines.append(f"| {pathlib.Path(case['model']).name} | {case['weights']} | {case['threads']} "
                     f"| {cell(ours, 1)} | {cell(llama, 1)} | {ratio(ours, llama)} "
                     f"| {cell(torch, 1)} | {ratio(ours, torch)} |")
    return lines


def limits(cases):
    lines = ["| model | weights | threads | products GFLOP/s | prefill reaches | copies GB/s "
             "| decode moves GB/s |", "|---|---|---|---|---|---|---|"]
    for case in cases:
        share = median(case, "pith", "products")
        lines.append(f"| {pathlib.Path(case['model']).name} | {case['weights']} | {case['threads']} "
                     f"| {cell(median(case, 'pith', 'gflop'), 0)} "
                     f"| {cell(share and 100 * share, 0)}{'' if share is None else ' %'} "
                     f"| {cell(median(case, 'pith', 'copies_gb'), 1)} "
                     f"| {cell(median(case, 'pith', 'decode_gb'), 1)} |")
    return lines


def page(result):
    facts = [f"{key:11}{value}" for key, value in result["facts"].items()]
    facts += [f"{name:11}{version}" for name, version in result["versions"].items()]
    cases = result["cases"]
    prompt, decode = result["prompt"], result["decode"]
    return "\n".join(
        ["# Beside peers on the CPU", "", "Written by `benchmarks/peers/cpu_bench.py`.", "", "```"]
        + facts + ["```", "", f"## Prefill, tokens a second, prompt of {prompt}", ""]
        + table(cases, "prefill")
        + ["", f"## Decode, tokens a second, {decode} tokens after it", ""]
        + table(cases, "decode")
        + ["", "## pith beside the machine, measured in the same runs", ""] + limits(cases)) + "\n"


def write(path, text):
    new = path.with_suffix(".tmp")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llama", type=pathlib.Path, required=True,
                        help="folder with llama-bench and llama-quantize")
    parser.add_argument("--llama-version", help="for the table, where the build does not know it")
    parser.add_argument("--pith", default="build/cpu/pith")
    parser.add_argument("--transformers", help="a Python that has torch and transformers")
    parser.add_argument("--out", default="out/peers")
    parser.add_argument("--models", default="mamba2-130m,mamba-130m,models/pith-27m-mamba2,"
                                            "models/pith-13m-mamba1")
    parser.add_argument("--weights", default="f32,16,8")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    peers = Peers(args)
    name, flags = processor()
    result = {"facts": {"date": datetime.date.today().isoformat(),
                        "machine": f"{platform.system()} {platform.release()}, "
                                   f"{os.cpu_count()} processors, {name} ({' '.join(flags)})",
                        "repeats": f"{args.repeats}, medians; the faster file counts where "
                                   "llama.cpp has two of a width (bf16, f16)"},
              "versions": peers.versions, "prompt": args.prompt, "decode": args.decode, "cases": []}
    out = pathlib.Path(args.out)
    for model in args.models.split(","):
        for threads in map(int, args.threads.split(",")):
            for width in args.weights.split(","):
                print(model, width, "weights,", threads, "threads", file=sys.stderr)
                result["cases"].append(peers.measure(model, width, threads))
                write(out / "peers.json", json.dumps(result, indent=1))
                write(out / "peers.md", page(result))
    print(page(result))


if __name__ == "__main__":
    main()
