#!/usr/bin/env python3
"""Generates tests/golden/gguf/expected.json: logits of small GGUF models, in every type that pith
reads, in float64, and how far llama.cpp is from them.

The models are drawn from integers by rules that tests/golden/gguf_models.cc repeats, so no file is
stored. llama.cpp computes each file as it is (`peer_error`; of quantised weights it multiplies
quantised activations) and, where they are not quantised, the same weights widened to f32, which is
what pith is held to (`peer_error_f32`, see error_f32).

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

D, INNER, VOCAB, CONV, RANK, EPS = 256, 512, 96, 4, 24, 1e-5
HEADS, KV_HEADS, HEAD_DIM, HIDDEN, SHARED, EXPERTS, CHOSEN = 4, 2, 64, 512, 256, 4, 2
M1, M2 = dict(state=16), dict(state=64, heads=8, groups=2)
MULTIPLIERS = dict(embedding_scale=2.0, residual_scale=0.5, attention_scale=0.1, logit_scale=4.0)
# A block is what mixes rows and what follows it; rope: which numbers of a head turn together.
MAMBA1 = dict(arch="mamba", blocks=[("mamba1", None)] * 2, **M1)
MAMBA2 = dict(arch="mamba2", blocks=[("mamba2", None)] * 2, **M2)
LLAMA = dict(arch="llama", blocks=[("attention", "mlp")] * 2, rope="neighbours", theta=10000.0,
             factors=True)
HYBRID = dict(arch="granitehybrid", blocks=[("mamba2", "mlp"), ("attention", "mlp")], **M2,
              **MULTIPLIERS)
OTHERS = [
    dict(arch="qwen2", blocks=[("attention", "mlp")] * 2, rope="halves", theta=1e6, biases=True),
    dict(arch="granite", blocks=[("attention", "mlp")] * 2, rope="neighbours", theta=10000.0,
         **MULTIPLIERS),
    HYBRID | dict(name="granitehybrid-experts", shared=True,
                  blocks=[("mamba2", "experts"), ("attention", "experts")]),
    dict(arch="jamba", blocks=[("mamba1", "mlp"), ("attention", "experts")], **M1),
    dict(arch="nemotron_h", blocks=[("mamba2", None), ("attention", None), (None, "relu2")], **M2),
    dict(arch="falcon-h1", blocks=[("both", "mlp")] * 2, rope="halves", theta=10000.0, **M2),
]
TEXTS = [[(7 * i * i + (3 + 10 * t) * i + t) % VOCAB for i in range(40)] for t in range(32)]
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


def mixer_tensors(model, p, mixer, kind):
    if mixer in ("mamba1", "mamba2", "both"):
        state, two = model["state"], mixer != "mamba1"
        channels = INNER + 2 * model["groups"] * state if two else INNER
        yield p + "ssm_in.weight", (INNER + channels + model["heads"] if two else 2 * INNER, D), kind
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
        if model["arch"] == "jamba":
            for name, size in (("dt", RANK), ("b", state), ("c", state)):
                yield p + f"ssm_{name}_norm.weight", (size,), T.F32
    if mixer in ("attention", "both"):
        for name, heads in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            yield p + f"attn_{name}.weight", (heads * HEAD_DIM, D), kind
            if model.get("biases"):
                yield p + f"attn_{name}.bias", (heads * HEAD_DIM,), T.F32
        yield p + "attn_output.weight", (D, HEADS * HEAD_DIM), kind


def mlp_tensors(p, suffix, width, kind, gated=True, experts=()):
    if gated:
        yield p + f"ffn_gate{suffix}.weight", (*experts, width, D), kind
    yield p + f"ffn_up{suffix}.weight", (*experts, width, D), kind
    yield p + f"ffn_down{suffix}.weight", (*experts, D, width), kind


def tensors(model, kind):
    """(name, shape, type) in the file's order; shapes as numpy has them."""
    yield "token_embd.weight", (VOCAB, D), kind
    yield "output_norm.weight", (D,), T.F32
    if model.get("factors"):
        yield "rope_freqs.weight", (HEAD_DIM // 2,), T.F32
    for n, (mixer, second) in enumerate(model["blocks"]):
        p = f"blk.{n}."
        yield p + "attn_norm.weight", (D,), T.F32
        yield from mixer_tensors(model, p, mixer, kind)
        if mixer and second:
            yield p + ("ffn_norm" if model["arch"] == "falcon-h1" else "ffn_norm.weight"), (D,), T.F32
        if second == "experts":
            yield p + "ffn_gate_inp.weight", (EXPERTS, D), T.F32
            yield from mlp_tensors(p, "_exps", HIDDEN, kind, experts=(EXPERTS,))
            if model.get("shared"):
                yield from mlp_tensors(p, "_shexp", SHARED, kind)
        elif second:
            yield from mlp_tensors(p, "", HIDDEN, kind, gated=second == "mlp")


def write_keys(w, model):
    mixers, seconds = zip(*model["blocks"])
    attends = [m in ("attention", "both") for m in mixers]
    w.add_context_length(2**20), w.add_embedding_length(D), w.add_block_count(len(mixers))
    w.add_vocab_size(VOCAB), w.add_layer_norm_rms_eps(EPS), w.add_tokenizer_model("no_vocab")
    w.add_feed_forward_length([HIDDEN if s else 0 for s in seconds] if any(seconds) else 0)
    w.add_head_count(HEADS if any(attends) else 0)
    if any(attends):
        w.add_head_count_kv([KV_HEADS if a else 0 for a in attends])
        w.add_key_length(HEAD_DIM), w.add_value_length(HEAD_DIM)
    if "rope" in model:
        w.add_rope_dimension_count(HEAD_DIM), w.add_rope_freq_base(model["theta"])
    if "residual_scale" in model:
        w.add_rope_scaling_finetuned("rope" in model)
        w.add_embedding_scale(model["embedding_scale"]), w.add_logit_scale(model["logit_scale"])
        w.add_residual_scale(model["residual_scale"])
        w.add_attention_scale(model["attention_scale"])
    if model["arch"] == "nemotron_h":
        w.add_layer_norm_eps(EPS)
    if "experts" in seconds:
        w.add_expert_count(EXPERTS), w.add_expert_used_count(CHOSEN)
        if model.get("shared"):
            w.add_expert_shared_feed_forward_length(SHARED)
    if "state" not in model:
        return
    w.add_ssm_conv_kernel(CONV), w.add_ssm_inner_size(INNER), w.add_ssm_state_size(model["state"])
    w.add_ssm_time_step_rank(model.get("heads", RANK))
    if "heads" in model:
        w.add_ssm_group_count(model["groups"])
    if model["arch"] == "mamba":
        w.add_ssm_dt_b_c_rms(model.get("rms", False))


def is_matrix(name, shape):
    other = "conv1d" in name or "norm" in name
    return len(shape) > 1 and name.endswith("weight") and not other


def write(path, model, kind, wide):
    """Writes the file, its matrices widened to f32 if `wide`; returns the weights in float64."""
    w = gguf.GGUFWriter(path, model["arch"])
    write_keys(w, model)
    weights = {}
    for i, (name, shape, type_) in enumerate(tensors(model, kind)):
        if is_matrix(name, shape):
            stored = matrix(type_, i, int(np.prod(shape[:-1])), shape[-1])
            values = quants.dequantize(stored, type_).astype(np.float32).reshape(shape)
            stored = stored.reshape(*shape[:-1], -1)
        else:
            stored = values = vector(name, i, shape)
        weights[name] = values.astype(np.float64)
        if wide or stored is values:
            w.add_tensor(name, np.ascontiguousarray(values))
        else:
            w.add_tensor(name, stored, raw_dtype=type_)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
    return weights


def product(x, w):
    """x wᵀ; in float32 one sum after the other, term by term."""
    if x.dtype == np.float64:
        return x @ w.T
    out = np.zeros((*x.shape[:-1], len(w)), x.dtype)
    for k in range(w.shape[1]):
        out += x[..., k, None] * w[:, k]
    return out


def rms(x):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPS)


def silu(x):
    return x / (1 + np.exp(-x))


def convolution(x, weight, bias):
    padded = np.concatenate([np.zeros((CONV - 1, x.shape[1]), x.dtype), x])
    return silu(sum(padded[k : k + len(x)] * weight[:, k] for k in range(CONV)) + bias)


def mamba1(model, w, p, x):
    state = model["state"]
    x, z = np.split(product(x, w[p + "in.weight"]), 2, axis=1)
    x = convolution(x, w[p + "conv1d.weight"], w[p + "conv1d.bias"])
    dt, b, c = np.split(product(x, w[p + "x.weight"]), [RANK, RANK + state], axis=1)
    if model.get("rms"):
        dt, b, c = rms(dt), rms(b), rms(c)
    if model["arch"] == "jamba":
        dt, b, c = (rms(v) * w[p + f"{n}_norm.weight"] for n, v in (("dt", dt), ("b", b), ("c", c)))
    dt = np.logaddexp(0, product(dt, w[p + "dt.weight"]) + w[p + "dt.bias"])
    h, y = np.zeros((INNER, state), x.dtype), np.empty_like(x)
    for t in range(len(x)):
        h = h * np.exp(dt[t, :, None] * w[p + "a"]) + (dt[t] * x[t])[:, None] * b[t]
        y[t] = h @ c[t] + w[p + "d"] * x[t]
    return product(y * silu(z), w[p + "out.weight"])


def mamba2(model, w, p, x):
    heads, groups, state = model["heads"], model["groups"], model["state"]
    channels = INNER + 2 * groups * state
    z, x, dt = np.split(product(x, w[p + "in.weight"]), [INNER, INNER + channels], axis=1)
    x = convolution(x, w[p + "conv1d.weight"], w[p + "conv1d.bias"])
    x, b, c = np.split(x, [INNER, INNER + groups * state], axis=1)
    x = x.reshape(len(x), heads, -1)
    b = np.repeat(b.reshape(len(x), groups, state), heads // groups, axis=1)
    c = np.repeat(c.reshape(len(x), groups, state), heads // groups, axis=1)
    dt = np.logaddexp(0, dt + w[p + "dt.bias"])
    h, y = np.zeros((heads, INNER // heads, state), x.dtype), np.empty_like(x)
    for t in range(len(x)):
        decay = np.exp(dt[t] * w[p + "a"][:, 0])
        h = h * decay[:, None, None] + (dt[t][:, None] * x[t])[:, :, None] * b[t][:, None, :]
        y[t] = np.einsum("hpn,hn->hp", h, c[t]) + w[p + "d"] * x[t]
    y = (y.reshape(len(x), INNER) * silu(z)).reshape(len(x), groups, -1)
    return product((rms(y) * w[p + "norm.weight"]).reshape(len(x), INNER), w[p + "out.weight"])


def rotate(model, w, x):
    """x [rows, heads, HEAD_DIM], row r at position r."""
    if "rope" not in model:
        return x
    frequencies = model["theta"] ** (-np.arange(HEAD_DIM // 2) / (HEAD_DIM // 2))
    if model.get("factors"):
        frequencies = frequencies / w["rope_freqs.weight"]
    angles = np.arange(len(x))[:, None, None] * frequencies
    halves = model["rope"] == "halves"
    a, b = np.split(x, 2, axis=2) if halves else (x[:, :, 0::2], x[:, :, 1::2])
    cosine, sine = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    turned = a * cosine - b * sine, b * cosine + a * sine
    return np.concatenate(turned, axis=2) if halves else np.stack(turned, axis=3).reshape(x.shape)


def attention(model, w, p, x):
    def heads(name):
        bias = w.get(p + name + ".bias", 0)
        return (product(x, w[p + name + ".weight"]) + bias).reshape(len(x), -1, HEAD_DIM)

    q, k, v = rotate(model, w, heads("q")), rotate(model, w, heads("k")), heads("v")
    k, v = (np.repeat(t, HEADS // KV_HEADS, axis=1) for t in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) * model.get("attention_scale", HEAD_DIM**-0.5)
    scores = np.where(np.tri(len(x), dtype=bool), scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    weights /= weights.sum(axis=2, keepdims=True)
    values = np.einsum("hqk,khd->qhd", weights, v).reshape(len(x), -1)
    return product(values, w[p + "output.weight"])


def mlp(w, p, suffix, x, expert=...):
    up = product(x, w[p + f"up{suffix}.weight"][expert])
    gate = p + f"gate{suffix}.weight"
    hidden = silu(product(x, w[gate][expert])) * up if gate in w else np.maximum(up, 0) ** 2
    return product(hidden, w[p + f"down{suffix}.weight"][expert])


def experts(model, w, p, x):
    logits = product(x, w[p + "gate_inp.weight"])
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    out = mlp(w, p, "_shexp", x) if model.get("shared") else np.zeros_like(x)
    for row in range(len(x)):
        chosen = np.argsort(-weights[row])[:CHOSEN]
        total = 1 if model["arch"] == "jamba" else weights[row, chosen].sum()
        for e in chosen:
            out[row] += weights[row, e] / total * mlp(w, p, "_exps", x[row], e)
    return out


def truth(model, w, ids):
    residual = model.get("residual_scale", 1)
    x = w["token_embd.weight"][ids] * model.get("embedding_scale", 1)
    mixers = {"mamba1": [(mamba1, "ssm_")], "mamba2": [(mamba2, "ssm_")],
              "attention": [(attention, "attn_")], "both": [(mamba2, "ssm_"), (attention, "attn_")],
              None: []}
    for n, (mixer, second) in enumerate(model["blocks"]):
        p = f"blk.{n}."
        normed = rms(x) * w[p + "attn_norm.weight"]
        x = x + residual * sum(f(model, w, p + name, normed) for f, name in mixers[mixer])
        if not second:
            continue
        norm = w.get(p + "ffn_norm", w.get(p + "ffn_norm.weight"))
        normed = rms(x) * norm if mixer else normed
        mixed = second == "experts"
        x = x + residual * (experts(model, w, p + "ffn_", normed) if mixed
                            else mlp(w, p + "ffn_", "", normed))
    logits = product(rms(x) * w["output_norm.weight"], w["token_embd.weight"])
    return logits / model.get("logit_scale", 1)


def peer(program, path, ids):
    out = subprocess.run([program, path, *map(str, ids)], check=True, capture_output=True, text=True)
    return np.array([[float(v) for v in line.split()] for line in out.stdout.splitlines()])


def error_f32(program, path, model, weights):
    """llama.cpp's largest error over all texts: one says little of rounding, some luck more or less
    is a factor of two. Where a model has attention also that of a plain float32 forward, which adds
    term by term: llama.cpp's many short sums round less than any program with one chain can."""
    plain = {name: values.astype(np.float32) for name, values in weights.items()}
    attends = any("attn_q" in name for name in weights)
    worst = 0
    for ids in TEXTS:
        logits = truth(model, weights, ids)
        others = [peer(program, path, ids)] + ([truth(model, plain, ids)] if attends else [])
        worst = max(worst, *(np.abs(other - logits).max() for other in others))
    return float(worst)


def case(program, folder, model, kind):
    path = str(folder / "model.gguf")
    weights = write(path, model, kind, wide=False)
    logits = truth(model, weights, IDS)
    name = model.get("name", model["arch"])
    result = {"model": name, "type": kind.name,
              "peer_error": float(np.abs(peer(program, path, IDS) - logits).max())}
    if gguf.GGML_QUANT_SIZES[kind][0] == 1:
        write(path, model, kind, wide=True)
        result["peer_error_f32"] = error_f32(program, path, model, weights)
    print(f"{name:21} {kind.name:5} scale {np.abs(logits).max():.3g} "
          f"peer {result['peer_error']:.3g} peer_f32 {result.get('peer_error_f32', 0):.3g}")
    rows = [[float(np.float32(v)) for v in row] for row in logits[-LAST_ROWS:]]
    return result | {"logits": rows}


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        models = [(model, kind) for model in (MAMBA1, MAMBA2) for kind in TYPES]
        models.append((MAMBA1 | {"name": "mamba-rms", "rms": True}, T.F32))
        models += [(model, kind) for model in (LLAMA, HYBRID) for kind in TYPES]
        models += [(model, T.F32) for model in OTHERS]
        cases = [case(program, pathlib.Path(folder), *each) for each in models]
    path = pathlib.Path("tests/golden/gguf/expected.json")
    path.parent.mkdir(exist_ok=True)
    text = json.dumps({"format": 1, "ids": IDS, "cases": cases}, separators=(",", ":"))
    path.write_text(text.replace('{"model"', '\n{"model"') + "\n")


if __name__ == "__main__":
    main()
