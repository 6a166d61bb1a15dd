#!/usr/bin/env python3
"""Writes Granite-4.0-H of a published shape with random weights, as transformers names its tensors.

    granite_model.py SHAPE OUT_DIR

Matrices are bf16, the rest f32. `pith convert --to gguf` makes llama.cpp's file of it. The shapes are those of
`pith bench --shape`, written from memory (src/load/published_shapes.cc). Needs the package numpy.
"""

import json
import pathlib
import sys

import numpy as np

# name: (d_model, blocks, width of the MLP, blocks with attention)
SHAPES = {
    "granite-4.0-h-350m": (768, 32, 2048, (10, 13, 17, 27)),
    "granite-4.0-h-1b": (1536, 40, 4096, (5, 15, 25, 35)),
}
VOCABULARY, HEADS, KV_HEADS, STATE, HEAD_DIM, CONV = 100352, 12, 4, 128, 64, 4


def config_of(name):
    d_model, blocks, hidden, attention = SHAPES[name]
    kinds = ["attention" if b in attention else "mamba" for b in range(blocks)]
    return {"model_type": "granitemoehybrid", "vocab_size": VOCABULARY, "hidden_size": d_model,
            "num_hidden_layers": blocks, "shared_intermediate_size": hidden,
            "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
            "mamba_n_heads": 2 * d_model // HEAD_DIM, "mamba_d_head": HEAD_DIM,
            "mamba_d_state": STATE, "mamba_expand": 2, "mamba_n_groups": 1, "mamba_d_conv": CONV,
            "num_local_experts": 0, "rms_norm_eps": 1e-05, "position_embedding_type": "nope",
            "attention_multiplier": (d_model // HEADS) ** -0.5, "tie_word_embeddings": True,
            "layer_types": kinds}


def sizes_of(name):
    d_model, blocks, hidden, attention = SHAPES[name]
    inner, kv = 2 * d_model, d_model // HEADS * KV_HEADS
    heads, channels = inner // HEAD_DIM, inner + 2 * STATE
    mamba = {"in_proj.weight": (inner + channels + heads, d_model), "A_log": (heads,), "D": (heads,),
             "conv1d.weight": (channels, 1, CONV), "conv1d.bias": (channels,), "dt_bias": (heads,),
             "norm.weight": (inner,), "out_proj.weight": (d_model, inner)}
    heads_of = {"q_proj.weight": (d_model, d_model), "k_proj.weight": (kv, d_model),
                "v_proj.weight": (kv, d_model), "o_proj.weight": (d_model, d_model)}
    yield "model.embed_tokens.weight", (VOCABULARY, d_model)
    for block in range(blocks):
        at = f"model.layers.{block}."
        yield at + "input_layernorm.weight", (d_model,)
        kind, mixer = ("self_attn.", heads_of) if block in attention else ("mamba.", mamba)
        for tensor, size in mixer.items():
            yield at + kind + tensor, size
        yield at + "post_attention_layernorm.weight", (d_model,)
        yield at + "shared_mlp.input_linear.weight", (2 * hidden, d_model)
        yield at + "shared_mlp.output_linear.weight", (d_model, hidden)
    yield "model.norm.weight", (d_model,)


def bounds_of(name, size):
    """Ranges in which nothing overflows or vanishes."""
    ranges = {"dt_bias": (-6.9, -2.25), "A_log": (0.0, np.log(16)), "conv1d.weight": (-0.5, 0.5),
              "conv1d.bias": (-0.1, 0.1)}
    for ending, bounds in ranges.items():
        if name.endswith(ending):
            return bounds
    return (-np.sqrt(3 / size[1]), np.sqrt(3 / size[1])) if len(size) == 2 else (0.9, 1.1)


def write(name, directory):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config_of(name), indent=1), encoding="utf-8")
    header, offset = {}, 0
    for tensor, size in sizes_of(name):
        matrix = len(size) == 2
        end = offset + int(np.prod(size)) * (2 if matrix else 4)
        header[tensor] = {"dtype": "BF16" if matrix else "F32", "shape": size,
                          "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    random = np.random.default_rng(1)
    with open(directory / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor, entry in header.items():
            size = entry["shape"]
            low, high = bounds_of(tensor, size)
            values = (low + (high - low) * random.random(size, dtype=np.float32)).astype(np.float32)
            if entry["dtype"] == "BF16":
                values = (values.view(np.uint32) >> 16).astype(np.uint16)
            file.write(values.tobytes())


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SHAPES:
        sys.exit(__doc__)
    write(*sys.argv[1:])
