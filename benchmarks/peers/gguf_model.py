#!/usr/bin/env python3
"""Writes the models that the peers on the CPU are measured with: see README.md beside this file.

    gguf_model.py SOURCE OUT.gguf f32|f16|bf16     for llama.cpp
    gguf_model.py SOURCE OUT_DIR f32               for pith, a directory whose weights are f32

SOURCE is a directory in the format of mamba_ssm (config.json, model.safetensors, perhaps tokenizer.json)
or the name of a published shape, which gets random weights. Needs the packages gguf and numpy.
"""

import json
import pathlib
import shutil
import sys

import numpy as np

# name: (kind, d_model, layers, rows of the embedding)
SHAPES = {
    "mamba-130m": ("Mamba1", 768, 24, 50280),
    "mamba-370m": ("Mamba1", 1024, 48, 50280),
    "mamba2-130m": ("Mamba2", 768, 24, 50288),
    "mamba2-370m": ("Mamba2", 1024, 48, 50288),
}


class Shape:
    """The sizes that config.json tells, mamba_ssm's defaults where it is silent."""

    def __init__(self, config):
        ssm = config.get("ssm_cfg", {})
        self.mamba2 = ssm.get("layer") == "Mamba2"
        self.d_model = config["d_model"]
        self.layers = config["n_layer"]
        self.inner = ssm.get("expand", 2) * self.d_model
        self.state = ssm.get("d_state", 128 if self.mamba2 else 16)
        self.conv = ssm.get("d_conv", 4)
        self.head_dim = ssm.get("headdim", 64)
        self.groups = ssm.get("ngroups", 1)
        self.heads = self.inner // self.head_dim
        self.rank = -(-self.d_model // 16)


class Stored:
    """Tensors of a directory, widened to f32."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.config = json.loads((self.directory / "config.json").read_text(encoding="utf-8"))
        self.raw = np.memmap(self.directory / "model.safetensors", np.uint8, "r")
        size = int.from_bytes(bytes(self.raw[:8]), "little")
        self.header = json.loads(bytes(self.raw[8:8 + size]))
        self.header.pop("__metadata__", None)
        self.data = self.raw[8 + size:]
        self.tokenizer = self.directory / "tokenizer.json"

    def names(self):
        return list(self.header)

    def __call__(self, name):
        entry = self.header[name]
        begin, end = entry["data_offsets"]
        raw = self.data[begin:end]
        if entry["dtype"] == "BF16":
            values = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        elif entry["dtype"] == "F16":
            values = raw.view(np.float16).astype(np.float32)
        elif entry["dtype"] == "F32":
            values = np.array(raw.view(np.float32))
        else:
            sys.exit(f"{self.directory}: {name} is {entry['dtype']}, expected F32, F16 or BF16")
        return values.reshape(entry["shape"])


class Drawn:
    """Random tensors of a published shape, in ranges in which nothing overflows or vanishes."""

    tokenizer = None

    def __init__(self, name):
        kind, d_model, layers, self.vocabulary = SHAPES[name]
        self.config = {"d_model": d_model, "n_layer": layers, "ssm_cfg": {"layer": kind}}
        self.shape = Shape(self.config)
        self.random = np.random.default_rng(1)

    def sizes(self, name):
        s = self.shape
        channels = s.inner + (2 * s.groups * s.state if s.mamba2 else 0)
        projected = channels + s.inner + (s.heads if s.mamba2 else 0)
        units = s.heads if s.mamba2 else s.inner
        return {
            "embedding.weight": (self.vocabulary, s.d_model),
            "in_proj.weight": (projected, s.d_model), "out_proj.weight": (s.d_model, s.inner),
            "conv1d.weight": (channels, 1, s.conv), "conv1d.bias": (channels,),
            "A_log": (s.heads,) if s.mamba2 else (s.inner, s.state),
            "D": (units,), "dt_bias": (units,), "dt_proj.bias": (units,),
            "x_proj.weight": (s.rank + 2 * s.state, s.inner), "dt_proj.weight": (s.inner, s.rank),
            "mixer.norm.weight": (s.inner,), "norm.weight": (s.d_model,),
            "norm_f.weight": (s.d_model,),
        }

    def __call__(self, name):
        ending, size = next((e, s) for e, s in self.sizes(name).items() if name.endswith(e))
        low, high = 0.9, 1.1  # norms and D
        if ending in ("dt_bias", "dt_proj.bias"):
            low, high = -6.9, -2.25
        elif ending == "A_log":
            low, high = 0.0, np.log(16)
        elif ending == "conv1d.weight":
            low, high = -0.5, 0.5
        elif ending == "conv1d.bias":
            low, high = -0.1, 0.1
        elif len(size) == 2:
            high = np.sqrt(3 / size[1])
            low = -high
        return self.random.uniform(low, high, size).astype(np.float32)


def open_source(name):
    return Drawn(name) if name in SHAPES else Stored(name)


def to_bf16(values):
    """The upper halves of floats, rounded to nearest, as numbers of 16 bits."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


class GgufFile:
    def __init__(self, path, kind, dtype):
        import gguf
        self.gguf = gguf
        self.dtype = dtype
        self.writer = gguf.GGUFWriter(str(path), kind)
        self.writer.add_file_type({"f32": 0, "f16": 1, "bf16": 32}[dtype])

    def matrix(self, name, values):
        if self.dtype == "bf16":
            rows = to_bf16(values)
            self.writer.add_tensor(name, rows.view(np.uint8).reshape(*values.shape[:-1], -1),
                                   raw_dtype=self.gguf.GGMLQuantizationType.BF16)
        else:
            self.writer.add_tensor(name, values.astype({"f32": np.float32, "f16": np.float16}[self.dtype]))

    def vector(self, name, values):
        self.writer.add_tensor(name, np.ascontiguousarray(values))

    def finish(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def write_facts(writer, shape, vocabulary):
    writer.add_context_length(2**20)
    writer.add_embedding_length(shape.d_model)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(shape.layers)
    writer.add_vocab_size(vocabulary)
    writer.add_ssm_conv_kernel(shape.conv)
    writer.add_ssm_inner_size(shape.inner)
    writer.add_ssm_state_size(shape.state)
    writer.add_ssm_time_step_rank(shape.heads if shape.mamba2 else shape.rank)
    if shape.mamba2:
        writer.add_ssm_group_count(shape.groups)
    else:
        writer.add_ssm_dt_b_c_rms(False)
    writer.add_layer_norm_rms_eps(1e-5)


def write_tokenizer(writer, tokenizer, vocabulary):
    """Where there is none, words that no text needs: only ids are read and written."""
    tokens, types, merges = [f"t{i}" for i in range(vocabulary)], [1] * vocabulary, ["t 1"]
    if tokenizer is not None and tokenizer.exists():
        content = json.loads(tokenizer.read_text(encoding="utf-8"))
        tokens, types = [f"[PAD{i}]" for i in range(vocabulary)], [5] * vocabulary
        for token, i in content["model"]["vocab"].items():
            tokens[i], types[i] = token, 1
        for added in content["added_tokens"]:
            tokens[added["id"]], types[added["id"]] = added["content"], 3
        merges = [m if isinstance(m, str) else " ".join(m) for m in content["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)


def write_layer(file, shape, tensor, index):
    ours, theirs = f"backbone.layers.{index}.", f"blk.{index}."
    mixer = ours + "mixer."
    file.vector(theirs + "attn_norm.weight", tensor(ours + "norm.weight"))
    file.matrix(theirs + "ssm_in.weight", tensor(mixer + "in_proj.weight"))
    file.matrix(theirs + "ssm_out.weight", tensor(mixer + "out_proj.weight"))
    file.vector(theirs + "ssm_conv1d.weight", tensor(mixer + "conv1d.weight").squeeze(1))
    file.vector(theirs + "ssm_conv1d.bias", tensor(mixer + "conv1d.bias"))
    a, d = -np.exp(tensor(mixer + "A_log")), tensor(mixer + "D")
    if shape.mamba2:
        file.vector(theirs + "ssm_a", a.reshape(-1, 1))
        file.vector(theirs + "ssm_d", d.reshape(-1, 1))
        file.vector(theirs + "ssm_dt.bias", tensor(mixer + "dt_bias"))
        file.vector(theirs + "ssm_norm.weight",
                    tensor(mixer + "norm.weight").reshape(shape.groups, -1))
    else:
        file.vector(theirs + "ssm_a", a)
        file.vector(theirs + "ssm_d", d)
        file.matrix(theirs + "ssm_x.weight", tensor(mixer + "x_proj.weight"))
        file.matrix(theirs + "ssm_dt.weight", tensor(mixer + "dt_proj.weight"))
        file.vector(theirs + "ssm_dt.bias", tensor(mixer + "dt_proj.bias"))


def write_gguf(source, path, dtype):
    shape = Shape(source.config)
    embedding = source("backbone.embedding.weight")
    file = GgufFile(path, "mamba2" if shape.mamba2 else "mamba", dtype)
    write_facts(file.writer, shape, len(embedding))
    write_tokenizer(file.writer, source.tokenizer, len(embedding))
    file.matrix("token_embd.weight", embedding)
    file.vector("output_norm.weight", source("backbone.norm_f.weight"))
    for index in range(shape.layers):
        write_layer(file, shape, source, index)
    file.finish()


def write_wide(source, directory):
    """The same directory with f32 weights."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json"):
        if (source.directory / name).exists():
            shutil.copy(source.directory / name, directory / name)
    header, offset = {}, 0
    for name in source.names():
        size = 4 * int(np.prod(source.header[name]["shape"]))
        header[name] = {"dtype": "F32", "shape": source.header[name]["shape"],
                        "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    with open(directory / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in source.names():
            file.write(source(name).tobytes())


def main():
    if len(sys.argv) != 4 or sys.argv[3] not in ("f32", "f16", "bf16"):
        sys.exit(__doc__)
    source, out, dtype = open_source(sys.argv[1]), sys.argv[2], sys.argv[3]
    if out.endswith(".gguf"):
        write_gguf(source, out, dtype)
    elif dtype == "f32" and isinstance(source, Stored):
        write_wide(source, out)
    else:
        sys.exit("gguf_model.py: a directory is written as f32, of a directory")


if __name__ == "__main__":
    main()
