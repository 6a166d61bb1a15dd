"""Writes tests/load/data/torch: one small Mamba-2 model, saved by torch in the ways people save it.

Needs torch alone:  python tools/golden/torch_files.py --out tests/load/data/torch
(last made with torch 2.15.0). Names, shapes and values are those of `HfMamba2` in
tests/load/checkpoint_builder.cc; tests/load/torch_files_test.cc says what each file must give.
"""

import argparse
from pathlib import Path

import torch

LAYER = "backbone.layers.0."
SHAPES = {
    "backbone.embeddings.weight": (10, 8),
    LAYER + "norm.weight": (8,),
    LAYER + "mixer.in_proj.weight": (60, 8),
    LAYER + "mixer.in_proj.bias": (60,),
    LAYER + "mixer.conv1d.weight": (40, 1, 4),
    LAYER + "mixer.conv1d.bias": (40,),
    LAYER + "mixer.dt_bias": (4,),
    LAYER + "mixer.A_log": (4,),
    LAYER + "mixer.D": (4,),
    LAYER + "mixer.norm.weight": (16,),
    LAYER + "mixer.out_proj.weight": (8, 16),
    LAYER + "mixer.out_proj.bias": (8,),
    "backbone.norm_f.weight": (8,),
    "lm_head.weight": (10, 8),
}


def values(name):
    """The tensor of this name, as checkpoint_builder.cc's TestValue has it."""
    seed = 17
    for byte in name.encode():
        seed = (seed * 31 + byte) % 2**32
    count = torch.Size(SHAPES[name]).numel()
    return ((seed + 7 * torch.arange(count)) % 32 - 16).float().div(16).reshape(SHAPES[name])


def state_dict():
    return {name: values(name) for name in SHAPES}


def parameters():
    """Parameters, some with attributes as mamba_ssm sets them, and a tensor with one."""
    result = {name: torch.nn.Parameter(tensor) for name, tensor in state_dict().items()}
    for name in ["mixer.A_log", "mixer.D", "mixer.dt_bias"]:
        result[LAYER + name]._no_weight_decay = True
    head = values("lm_head.weight")
    head.note = "a tensor with an attribute"
    result["lm_head.weight"] = head
    return result


def with_offset(tensor):
    """Equal values as a slice out of the middle of a larger tensor, rows not adjacent."""
    larger = torch.full([size + 3 for size in tensor.shape], 99.0)
    inside = larger[tuple(slice(2, 2 + size) for size in tensor.shape)]
    return inside.copy_(tensor)


def strided():
    result = state_dict()
    in_proj, out_proj = LAYER + "mixer.in_proj.weight", LAYER + "mixer.out_proj.weight"
    conv, norm = LAYER + "mixer.conv1d.weight", LAYER + "mixer.norm.weight"
    result[in_proj] = result[in_proj].T.contiguous().T
    result[out_proj] = with_offset(result[out_proj])
    result[conv] = result[conv].permute(2, 1, 0).contiguous().permute(2, 1, 0)
    result[norm] = torch.stack([result[norm], torch.zeros(16)], dim=1)[:, 0]
    result[LAYER + "mixer.dt_bias"] = torch.tensor([0.5]).expand(4)
    result["lm_head.weight"] = with_offset(result["lm_head.weight"])
    return result


def buffers():
    result = state_dict()
    result[LAYER + "mixer.steps"] = torch.tensor(7)
    result["backbone.running_total"] = torch.rand(3, dtype=torch.float64)
    result["backbone.mask"] = torch.tensor([True, False])
    result["backbone.counts"] = torch.tensor([1, 2], dtype=torch.int32).expand(5, 2)
    return result


def training():
    """What a training script keeps: the wrapped model beside an optimizer and numbers."""
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = torch.optim.AdamW([weight], lr=1e-3)
    weight.sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "loss": 0.25,
        "seed": 2**70,
        "best": None,
        "done": False,
        "tags": ["a", "b"],
        "digest": b"\x00\xff",
        "done_layers": {1, 2},
        "shape": torch.Size([2, 2]),
        "where": torch.device("cpu"),
        "dtype": torch.bfloat16,
        "optimizer": optimizer.state_dict(),
        "rng_state": torch.arange(4, dtype=torch.uint8),
        "model": {"module._orig_mod." + k: v for k, v in state_dict().items()},
    }


def headless():
    return {
        name.removeprefix("backbone."): tensor
        for name, tensor in state_dict().items()
        if name.startswith("backbone.")
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    for name, content, how in [
        ("parameters", parameters(), {}),
        ("strided", strided(), {}),
        ("buffers", buffers(), {}),
        ("training", training(), {}),
        ("training-protocol5", {"state_dict": training()["model"]}, {"pickle_protocol": 5}),
        ("parameters-protocol4", parameters(), {"pickle_protocol": 4}),
        ("headless-protocol3", headless(), {"pickle_protocol": 3}),
        ("legacy", strided(), {"_use_new_zipfile_serialization": False}),
        (
            "legacy-protocol4",
            {"model_state_dict": buffers(), "tags": []},
            {"_use_new_zipfile_serialization": False, "pickle_protocol": 4},
        ),
    ]:
        torch.save(content, options.out / f"{name}.bin", **how)


if __name__ == "__main__":
    main()
