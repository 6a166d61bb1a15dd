#!/usr/bin/env python3
"""Generates tests/golden/gguf/expected.json: logits of small GGUF models, in every type that pith
reads, in float64, and how far llama.cpp is from them.

The models are drawn from integers by rules that tests/golden/gguf_test.cc repeats, so no file is
stored. llama.cpp computes each file as it is (`peer_error`; of quantised weights it multiplies
quantised activations) and the same weights widened to f32 (`peer_error_f32`, the largest over eight
texts), which is what pith is held to.

Needs numpy and gguf (PyPI; last used: 2.4.6 and 0.19.0) and tools/golden/llama_logits.cc, built in a
llama.cpp tree (last used: the one in llama-cpp-python 0.3.36) whose libraries lie in build/bin:

  g++ -std=c++17 -Iinclude -Iggml/include PITH/tools/golden/llama_logits.cc -o llama_logits \
      -Lbuild/bin -lllama -lggml -lggml-base -Wl,-rpath,$PWD/build/bin

Run from the repository's root:  tools/golden/gguf_logits.py path/to/llama_logits
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import quants

D, INNER, VOCAB, CONV, LAYERS, RANK, EPS = 256, 512, 96, 4, 2, 24, 1e-5
MAMBA1 = dict(arch="mamba", state=16)
MAMBA2 = dict(arch="mamba2", state=64, heads=8, groups=2)
TEXTS = [[(7 * i * i + (3 + 10 * t) * i + t) % VOCAB for i in range(40)] for t in range(8)]
IDS = TEXTS[0]
LAST_ROWS = 4
TYPES = [T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_K, T.Q6_K]


def draw(tensor, count):
    """Bytes of a tensor: splitmix64 (Steele, Lea & Flood 2014) from tensor · 2^32."""
    with np.errstate(over="ignore"):
        i = np.arange(1, -(-count // 8) + 1, dtype=np.uint64)
        z = np.uint64(tensor << 32) + i * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return z.view(np.uint8)[:count]


def scale(exponent, pair):
    """An f16 of this exponent whose mantissa is ten bits of two bytes."""
    bits = np.uint16((exponent + 15) << 10) | (pair.view(np.uint16).ravel() & np.uint16(0x3FF))
    return bits.view(np.uint8).reshape(-1, 2)


def matrix(kind, tensor, rows, cols):
    """What the file holds: [rows, bytes of a row], uint8."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    if block == 1:
        values = (draw(tensor, rows * cols).astype(np.float32) - 128) * np.float32(2**-10)
        return quants.quantize(values.reshape(rows, cols), kind).view(np.uint8)
    blocks = draw(tensor, rows * cols // block * size).reshape(-1, size).copy()
    if kind == T.Q8_0:
        blocks[:, :2] = scale(-11, blocks[:, :2].copy())
    elif kind == T.Q4_0:
        blocks[:, :2] = scale(-7, blocks[:, :2].copy())
    elif kind == T.Q4_K:
        blocks[:, :2] = scale(-13, blocks[:, :2].copy())
        blocks[:, 2:4] = scale(-10, blocks[:, 2:4].copy())
    else:
        blocks[:, 192:208] = (blocks[:, 192:208] & 31) - 16
        blocks[:, 208:] = scale(-12, blocks[:, 208:].copy())
    return blocks.reshape(rows, -1)


def vector(name, tensor, shape):
    bytes_ = draw(tensor, int(np.prod(shape))).astype(np.float32).reshape(shape)
    if name.endswith("ssm_a"):
        return -(1 + bytes_ / 32)
    if name.endswith("ssm_dt.bias"):
        return bytes_ / 64 - 5
    if name.endswith("conv1d.weight"):
        return (bytes_ - 128) / 256
    return (bytes_ - 128) / 1024 + (0 if name.endswith("bias") else 1)


def tensors(model, kind):
    """(name, shape, type) in the file's order; shapes as numpy has them."""
    state, two = model["state"], model["arch"] == "mamba2"
    channels = INNER + 2 * model["groups"] * state if two else INNER
    rows = INNER + channels + model["heads"] if two else 2 * INNER
    yield "token_embd.weight", (VOCAB, D), kind
    yield "output_norm.weight", (D,), T.F32
    for n in range(LAYERS):
        p = f"blk.{n}."
        yield p + "attn_norm.weight", (D,), T.F32
        yield p + "ssm_in.weight", (rows, D), kind
        yield p + "ssm_conv1d.weight", (channels, CONV), T.F32
        yield p + "ssm_conv1d.bias", (channels,), T.F32
        if two:
            yield p + "ssm_dt.bias", (model["heads"],), T.F32
            yield p + "ssm_a", (model["heads"], 1), T.F32
            yield p + "ssm_d", (model["heads"], 1), T.F32
            yield p + "ssm_norm.weight", (model["groups"], INNER // model["groups"]), T.F32
        else:
            yield p + "ssm_x.weight", (RANK + 2 * state, INNER), kind
            yield p + "ssm_dt.weight", (INNER, RANK), T.F32  # rows are no whole blocks
            yield p + "ssm_dt.bias", (INNER,), T.F32
            yield p + "ssm_a", (INNER, state), T.F32
            yield p + "ssm_d", (INNER,), T.F32
        yield p + "ssm_out.weight", (D, INNER), kind


def write(path, model, kind, wide):
    """Writes the file, its matrices widened to f32 if `wide`; returns the weights in float64."""
    w = gguf.GGUFWriter(path, model["arch"])
    w.add_context_length(2**20), w.add_embedding_length(D), w.add_feed_forward_length(0)
    w.add_head_count(0), w.add_block_count(LAYERS), w.add_vocab_size(VOCAB)
    w.add_ssm_conv_kernel(CONV), w.add_ssm_inner_size(INNER), w.add_ssm_state_size(model["state"])
    if model["arch"] == "mamba2":
        w.add_ssm_time_step_rank(model["heads"]), w.add_ssm_group_count(model["groups"])
    else:
        w.add_ssm_time_step_rank(RANK), w.add_ssm_dt_b_c_rms(model.get("rms", False))
    w.add_layer_norm_rms_eps(EPS), w.add_tokenizer_model("no_vocab")
    weights = {}
    for i, (name, shape, type_) in enumerate(tensors(model, kind)):
        if len(shape) == 2 and name.endswith("weight") and "conv1d" not in name and "norm" not in name:
            stored = matrix(type_, i, *shape)
            values = quants.dequantize(stored, type_).astype(np.float32).reshape(shape)
        else:
            stored = values = vector(name, i, shape)
        weights[name] = values.astype(np.float64)
        if wide or stored is values:
            w.add_tensor(name, np.ascontiguousarray(values))
        else:
            w.add_tensor(name, stored, raw_dtype=type_)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
    return weights


def rms(x):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPS)


def silu(x):
    return x / (1 + np.exp(-x))


def convolution(x, weight, bias):
    padded = np.concatenate([np.zeros((CONV - 1, x.shape[1])), x])
    return silu(sum(padded[k : k + len(x)] * weight[:, k] for k in range(CONV)) + bias)


def mamba1(model, w, p, x):
    state = model["state"]
    x, z = np.split(x @ w[p + "in.weight"].T, 2, axis=1)
    x = convolution(x, w[p + "conv1d.weight"], w[p + "conv1d.bias"])
    dt, b, c = np.split(x @ w[p + "x.weight"].T, [RANK, RANK + state], axis=1)
    if model.get("rms"):
        dt, b, c = rms(dt), rms(b), rms(c)
    dt = np.logaddexp(0, dt @ w[p + "dt.weight"].T + w[p + "dt.bias"])
    h, y = np.zeros((INNER, state)), np.empty_like(x)
    for t in range(len(x)):
        h = h * np.exp(dt[t, :, None] * w[p + "a"]) + (dt[t] * x[t])[:, None] * b[t]
        y[t] = h @ c[t] + w[p + "d"] * x[t]
    return (y * silu(z)) @ w[p + "out.weight"].T


def mamba2(model, w, p, x):
    heads, groups, state = model["heads"], model["groups"], model["state"]
    channels = INNER + 2 * groups * state
    z, x, dt = np.split(x @ w[p + "in.weight"].T, [INNER, INNER + channels], axis=1)
    x = convolution(x, w[p + "conv1d.weight"], w[p + "conv1d.bias"])
    x, b, c = np.split(x, [INNER, INNER + groups * state], axis=1)
    x = x.reshape(len(x), heads, -1)
    b = np.repeat(b.reshape(len(x), groups, state), heads // groups, axis=1)
    c = np.repeat(c.reshape(len(x), groups, state), heads // groups, axis=1)
    dt = np.logaddexp(0, dt + w[p + "dt.bias"])
    h, y = np.zeros((heads, INNER // heads, state)), np.empty_like(x)
    for t in range(len(x)):
        decay = np.exp(dt[t] * w[p + "a"][:, 0])
        h = h * decay[:, None, None] + (dt[t][:, None] * x[t])[:, :, None] * b[t][:, None, :]
        y[t] = np.einsum("hpn,hn->hp", h, c[t]) + w[p + "d"] * x[t]
    y = (y.reshape(len(x), INNER) * silu(z)).reshape(len(x), groups, -1)
    return (rms(y) * w[p + "norm.weight"]).reshape(len(x), INNER) @ w[p + "out.weight"].T


def truth(model, w, ids):
    x = w["token_embd.weight"][ids]
    mixer = mamba2 if model["arch"] == "mamba2" else mamba1
    for n in range(LAYERS):
        x = x + mixer(model, w, f"blk.{n}.ssm_", rms(x) * w[f"blk.{n}.attn_norm.weight"])
    return (rms(x) * w["output_norm.weight"]) @ w["token_embd.weight"].T


def peer(program, path, ids):
    out = subprocess.run([program, path, *map(str, ids)], check=True, capture_output=True, text=True)
    return np.array([[float(v) for v in line.split()] for line in out.stdout.splitlines()])


def case(program, folder, model, kind):
    path = str(folder / "model.gguf")
    weights = write(path, model, kind, wide=False)
    logits = truth(model, weights, IDS)
    error = np.abs(peer(program, path, IDS) - logits).max()
    write(path, model, kind, wide=True)
    # One text says little of rounding: some luck more or less is a factor of two.
    error_f32 = max(np.abs(peer(program, path, ids) - truth(model, weights, ids)).max()
                    for ids in TEXTS)
    name = model["arch"] + ("-rms" if model.get("rms") else "")
    print(f"{name:10} {kind.name:5} scale {np.abs(logits).max():.3g} "
          f"peer {error:.3g} peer_f32 {error_f32:.3g}")
    rows = [[float(np.float32(v)) for v in row] for row in logits[-LAST_ROWS:]]
    return {"model": name, "type": kind.name, "peer_error": float(error),
            "peer_error_f32": float(error_f32), "logits": rows}


def main():
    program = sys.argv[1]
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        for model in (MAMBA1, MAMBA2):
            cases += [case(program, pathlib.Path(folder), model, kind) for kind in TYPES]
        cases.append(case(program, pathlib.Path(folder), MAMBA1 | {"rms": True}, T.F32))
    path = pathlib.Path("tests/golden/gguf/expected.json")
    path.parent.mkdir(exist_ok=True)
    text = json.dumps({"format": 1, "ids": IDS, "cases": cases}, separators=(",", ":"))
    path.write_text(text.replace('{"model"', '\n{"model"') + "\n")


if __name__ == "__main__":
    main()
