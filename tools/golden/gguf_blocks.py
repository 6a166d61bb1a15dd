#!/usr/bin/env python3
"""Generates tests/core/gguf_blocks.json: blocks of GGUF's quantised types and what they widen to,
and values and their Q8_0 blocks, all by the `gguf` package (PyPI; last used: 0.19.0).

Run from the repository's root:  python tools/golden/gguf_blocks.py
"""

import json
import pathlib

import gguf
import numpy as np
from gguf import quants

BLOCKS = 3  # of each type
SCALES_AT = {"Q8_0": [0], "Q4_0": [0], "Q4_K": [0, 2], "Q6_K": [208]}
SCALES = [0.0123, -0.5, 6e-8]  # one a block; the last is a subnormal f16


def decoded(random, name, kind):
    _, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    for i in range(BLOCKS):
        for k, at in enumerate(SCALES_AT[name]):
            blocks[i, at : at + 2] = np.array([SCALES[i] * (k + 1)], np.float16).view(np.uint8)
    values = quants.dequantize(blocks, kind).astype(np.float32).ravel()
    return {"blocks": blocks.tobytes().hex(), "values": values.view(np.uint32).tolist()}


def encoded(random):
    values = random.standard_normal((6, 32)).astype(np.float32) * 0.05
    values[1] = 0
    values[2] *= 1e-5  # its scale is a subnormal f16
    values[3, :3] = [127, 0.5, -1.5]  # the scale is 1: halves go away from zero
    values[4] = values[4, 0]
    blocks = quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
    return {"values": values.ravel().view(np.uint32).tolist(), "blocks": blocks.tobytes().hex()}


def main():
    random = np.random.default_rng(20)
    result = {"encode": {"Q8_0": encoded(random)}, "decode": {}}
    for name in SCALES_AT:
        kind = getattr(gguf.GGMLQuantizationType, name)
        result["decode"][name] = decoded(random, name, kind)
    path = pathlib.Path("tests/core/gguf_blocks.json")
    path.write_text(json.dumps(result, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
