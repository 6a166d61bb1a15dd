#!/usr/bin/env python3
"""Write a checkpoint directory (config.json and weights) of any shape, with random weights.

For measurements and tests that need a model's shape and not its knowledge. Tensors are written one
block at a time, so a 2.7B model needs little memory. Needs only numpy.

  make_random_checkpoint.py --preset mamba2-2.7b OUT
  make_random_checkpoint.py --layer Mamba1 --d-model 64 --n-layer 2 --vocab 256 --format bin OUT
"""

import argparse
import json
import math
import pathlib
import struct
import zipfile

import numpy as np

PRESETS = {
    "mamba-130m": dict(layer="Mamba1", d_model=768, n_layer=24, vocab=50280),
    "mamba2-130m": dict(layer="Mamba2", d_model=768, n_layer=24, vocab=50288),
    "mamba2-2.7b": dict(layer="Mamba2", d_model=2560, n_layer=64, vocab=50288),
}
SAFETENSORS_DTYPE = {"bf16": "BF16", "f16": "F16", "f32": "F32"}
TORCH_STORAGE = {"bf16": "BFloat16Storage", "f16": "HalfStorage", "f32": "FloatStorage"}
WIDTH = {"bf16": 2, "f16": 2, "f32": 4}
BLOCK = 1 << 22  # elements that are in memory at once


def config_json(o):
    if o.style == "mamba_ssm":
        ssm = {"layer": o.layer, "d_state": o.d_state, "d_conv": o.d_conv, "expand": o.expand}
        if o.layer == "Mamba2":
            ssm |= {"headdim": o.head_dim, "ngroups": o.n_groups, "chunk_size": o.chunk_size}
        return {"d_model": o.d_model, "d_intermediate": 0, "n_layer": o.n_layer,
                "vocab_size": o.vocab, "ssm_cfg": ssm, "attn_layer_idx": [], "attn_cfg": {},
                "rms_norm": True, "residual_in_fp32": True, "fused_add_norm": True,
                "pad_vocab_size_multiple": 1, "tie_embeddings": not o.untied}
    kind = "falcon_mamba" if o.style == "falcon" else o.layer.lower().replace("mamba1", "mamba")
    config = {"model_type": kind, "hidden_size": o.d_model, "num_hidden_layers": o.n_layer,
              "vocab_size": o.vocab, "state_size": o.d_state, "conv_kernel": o.d_conv,
              "expand": o.expand, "use_bias": False, "use_conv_bias": True, "hidden_act": "silu",
              "layer_norm_epsilon": 1e-5, "eos_token_id": 0, "tie_word_embeddings": not o.untied}
    if o.layer == "Mamba2":
        config |= {"num_heads": o.expand * o.d_model // o.head_dim, "head_dim": o.head_dim,
                   "n_groups": o.n_groups, "chunk_size": o.chunk_size,
                   "time_step_limit": [0.0, math.inf]}
    else:
        config["time_step_rank"] = -(-o.d_model // 16)
    return config


def tensors(o):
    """Yields (name, shape, dtype, kind of initialisation)."""
    d_inner = o.expand * o.d_model
    mamba1 = o.layer == "Mamba1"
    heads = d_inner // o.head_dim
    conv = d_inner if mamba1 else d_inner + 2 * o.n_groups * o.d_state
    rank = -(-o.d_model // 16)
    embedding = "embedding" if o.style == "mamba_ssm" else "embeddings"
    yield f"backbone.{embedding}.weight", (o.vocab, o.d_model), o.dtype, "normal"
    for layer in range(o.n_layer):
        block = f"backbone.layers.{layer}."
        mixer = block + "mixer."
        yield block + "norm.weight", (o.d_model,), "f32", "ones"
        rows = 2 * d_inner if mamba1 else d_inner + conv + heads
        yield mixer + "in_proj.weight", (rows, o.d_model), o.dtype, "normal"
        yield mixer + "conv1d.weight", (conv, 1, o.d_conv), o.dtype, "conv"
        yield mixer + "conv1d.bias", (conv,), o.dtype, "zeros"
        if mamba1:
            yield mixer + "x_proj.weight", (rank + 2 * o.d_state, d_inner), o.dtype, "normal"
            yield mixer + "dt_proj.weight", (d_inner, rank), o.dtype, "dt_proj"
            yield mixer + "dt_proj.bias", (d_inner,), "f32", "dt_bias"
            yield mixer + "A_log", (d_inner, o.d_state), "f32", "a_log_ramp"
            yield mixer + "D", (d_inner,), "f32", "ones"
        else:
            yield mixer + "dt_bias", (heads,), "f32", "dt_bias"
            yield mixer + "A_log", (heads,), "f32", "a_log_uniform"
            yield mixer + "D", (heads,), "f32", "ones"
            yield mixer + "norm.weight", (d_inner,), "f32", "ones"
        yield mixer + "out_proj.weight", (o.d_model, d_inner), o.dtype, "normal"
    yield "backbone.norm_f.weight", (o.d_model,), "f32", "ones"
    if o.untied:
        yield "lm_head.weight", (o.vocab, o.d_model), o.dtype, "normal"


def values(rng, kind, shape, begin, count):
    """Elements [begin, begin + count) of a tensor, as f32; both packages' initialisations."""
    if kind == "normal":
        return rng.standard_normal(count, dtype=np.float32) * np.float32(0.02)
    if kind == "conv":
        bound = 1 / math.sqrt(shape[-1])
        return rng.uniform(-bound, bound, count).astype(np.float32)
    if kind == "dt_proj":
        bound = shape[-1] ** -0.5
        return rng.uniform(-bound, bound, count).astype(np.float32)
    if kind == "dt_bias":  # softplus of it is log-uniform in [1e-3, 1e-1]
        dt = np.exp(rng.uniform(math.log(1e-3), math.log(1e-1), count))
        return (dt + np.log(-np.expm1(-dt))).astype(np.float32)
    if kind == "a_log_ramp":
        return np.log(1 + (np.arange(begin, begin + count) % shape[-1])).astype(np.float32)
    if kind == "a_log_uniform":
        return np.log(rng.uniform(1, 16, count)).astype(np.float32)
    return np.full(count, 1 if kind == "ones" else 0, np.float32)


def encode(array, dtype):
    if dtype == "f32":
        return array.astype("<f4").tobytes()
    if dtype == "f16":
        return array.astype("<f2").tobytes()
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def write_values(out, rng, kind, shape, dtype):
    size = math.prod(shape)
    for begin in range(0, size, BLOCK):
        out.write(encode(values(rng, kind, shape, begin, min(BLOCK, size - begin)), dtype))


def write_safetensors(path, entries, rng):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, dtype, _ in entries:
        end = at + math.prod(shape) * WIDTH[dtype]
        header[name] = {"dtype": SAFETENSORS_DTYPE[dtype], "shape": list(shape),
                        "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, shape, dtype, kind in entries:
            write_values(out, rng, kind, shape, dtype)


def pickle_string(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def pickle_int(value):
    if 0 <= value < 256:
        return b"K" + struct.pack("<B", value)
    if 0 <= value < 65536:
        return b"M" + struct.pack("<H", value)
    if value < 2**31:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def pickle_ints(numbers):
    tuples = {1: b"\x85", 2: b"\x86", 3: b"\x87"}
    return b"".join(map(pickle_int, numbers)) + tuples[len(numbers)]


def state_dict_pickle(entries):
    """What torch.save writes for a state dict: protocol 2, storages as persistent ids."""
    ordered_dict = b"ccollections\nOrderedDict\n)R"
    out = [b"\x80\x02", ordered_dict, b"("]
    for key, (name, shape, dtype, _) in enumerate(entries):
        strides = [math.prod(shape[i + 1:]) for i in range(len(shape))]
        storage = (b"(" + pickle_string("storage") + b"ctorch\n" + TORCH_STORAGE[dtype].encode()
                   + b"\n" + pickle_string(str(key)) + pickle_string("cpu")
                   + pickle_int(math.prod(shape)) + b"tQ")
        out += [pickle_string(name), b"ctorch._utils\n_rebuild_tensor_v2\n(", storage,
                pickle_int(0), pickle_ints(shape), pickle_ints(strides), b"\x89", ordered_dict,
                b"tR"]
    return b"".join(out + [b"u."])


def write_torch_bin(path, entries, rng):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("pytorch_model/data.pkl", state_dict_pickle(entries))
        archive.writestr("pytorch_model/byteorder", "little")
        for key, (_, shape, dtype, kind) in enumerate(entries):
            info = zipfile.ZipInfo(f"pytorch_model/data/{key}")
            # Data on multiples of 64 bytes, through a filler field, as torch does.
            begin = archive.fp.tell() + 30 + len(info.filename) + 20 + 4
            filler = -begin % 64
            info.extra = struct.pack("<HH", 0x4246, filler) + b"Z" * filler
            with archive.open(info, "w", force_zip64=True) as out:
                write_values(out, rng, kind, shape, dtype)
        archive.writestr("pytorch_model/version", "3\n")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="directory to create")
    parser.add_argument("--preset", choices=sorted(PRESETS))
    parser.add_argument("--layer", choices=["Mamba1", "Mamba2"], default="Mamba2")
    parser.add_argument("--style", choices=["mamba_ssm", "hf", "falcon"], default="mamba_ssm")
    parser.add_argument("--format", choices=["safetensors", "bin"], default="safetensors")
    parser.add_argument("--dtype", choices=sorted(WIDTH), default="bf16", help="of matrices")
    parser.add_argument("--d-model", type=int, default=64)
    parser.add_argument("--n-layer", type=int, default=2)
    parser.add_argument("--vocab", type=int, default=256)
    parser.add_argument("--d-state", type=int, help="default: 16, or 128 for Mamba2")
    parser.add_argument("--d-conv", type=int, default=4)
    parser.add_argument("--expand", type=int, default=2)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--n-groups", type=int, default=1)
    parser.add_argument("--chunk-size", type=int, default=256)
    parser.add_argument("--untied", action="store_true", help="write a head of its own")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for key, value in PRESETS.get(options.preset, {}).items():
        setattr(options, key, value)
    if options.style == "falcon" and options.layer != "Mamba1":
        parser.error("--style falcon: needs --layer Mamba1")
    if options.layer == "Mamba2" and options.expand * options.d_model % options.head_dim != 0:
        parser.error("--head-dim must divide expand * d_model")
    if options.d_state is None:
        options.d_state = 16 if options.layer == "Mamba1" else 128
    return options


def main():
    options = parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "config.json").write_text(json.dumps(config_json(options), indent=2) + "\n")
    rng = np.random.Generator(np.random.SFC64(options.seed))
    entries = list(tensors(options))
    if options.format == "bin":
        write_torch_bin(options.out / "pytorch_model.bin", entries, rng)
    else:
        write_safetensors(options.out / "model.safetensors", entries, rng)
    count = sum(math.prod(shape) for _, shape, _, _ in entries)
    print(f"{options.out}: {count:,} parameters in {len(entries)} tensors")


if __name__ == "__main__":
    main()
