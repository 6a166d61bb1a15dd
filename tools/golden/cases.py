"""The small random models of the golden values: what they are and how their directories are made.

Weights that usually start as zeros or ones (norms, D, biases) are random here, so that a term left
out of a forward pass shows.
"""

import json
import math

import safetensors.torch
import torch
import transformers
from torch import nn

VOCAB = 61

HF_CLASSES = {
    "mamba": (transformers.MambaConfig, transformers.MambaForCausalLM),
    "mamba2": (transformers.Mamba2Config, transformers.Mamba2ForCausalLM),
    "falcon_mamba": (transformers.FalconMambaConfig, transformers.FalconMambaForCausalLM),
}

_SMALL = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 2}
_SMALL2 = dict(_SMALL, state_size=16, num_heads=8, head_dim=8, n_groups=1, chunk_size=8)

# name -> (model type, configuration, largest shard)
# "hf-mamba2-groups1" gets its config.json in transformers 4's spelling: see as_transformers_4.
HF_CASES = {
    "hf-mamba": ("mamba", dict(_SMALL, num_hidden_layers=3), None),
    "hf-mamba-options": (
        "mamba",
        dict(_SMALL, conv_kernel=2, use_bias=True, use_conv_bias=False, time_step_rank=5)
        | dict(state_size=12, layer_norm_epsilon=1e-3, tie_word_embeddings=False),
        None,
    ),
    "hf-mamba2-groups1": ("mamba2", dict(_SMALL2, tie_word_embeddings=True), None),
    "hf-mamba2-groups2": (
        "mamba2",
        dict(_SMALL2, n_groups=2, head_dim=16, num_heads=4, conv_kernel=3, chunk_size=16)
        | dict(use_bias=True, layer_norm_epsilon=1e-3),
        "24KB",
    ),
    "hf-mamba2-limit": (
        "mamba2",
        dict(_SMALL2, n_groups=2, conv_kernel=2, chunk_size=256, state_size=12)
        | dict(use_conv_bias=False, time_step_limit=(0.03, 0.3)),
        None,
    ),
    "hf-falcon-mamba": ("falcon_mamba", dict(_SMALL, tie_word_embeddings=False), None),
    "hf-falcon-mamba-options": (
        "falcon_mamba",
        dict(_SMALL, conv_kernel=3, use_bias=True, use_conv_bias=False)
        | dict(time_step_rank=5, mixer_rms_eps=1e-2),
        None,
    ),
}


def _ssm(ssm_cfg, **changes):
    """A config.json with every field that mamba_ssm writes."""
    config = {"d_model": 32, "d_intermediate": 0, "n_layer": 2, "vocab_size": VOCAB}
    config |= {"ssm_cfg": ssm_cfg, "attn_layer_idx": [], "attn_cfg": {}, "rms_norm": True}
    config |= {"residual_in_fp32": True, "fused_add_norm": True}
    return config | {"pad_vocab_size_multiple": 8, "tie_embeddings": True} | changes


# name -> (config.json, file, dtype of matrices, dtype of vectors)
SSM_CASES = {
    "ssm-mamba1": (
        _ssm({"layer": "Mamba1"}),
        "model.safetensors",
        torch.bfloat16,
        torch.float32,
    ),
    "ssm-mamba1-options": (  # no "layer": Mamba-1, as mamba_ssm 1.x wrote it
        _ssm(
            dict(d_state=12, d_conv=3, dt_rank=5, bias=True, conv_bias=False),
            rms_norm=False,
            tie_embeddings=False,
        ),
        "pytorch_model.bin",
        torch.float16,
        torch.float16,
    ),
    "ssm-mamba2": (
        _ssm(dict(layer="Mamba2", d_state=16, headdim=16, ngroups=2, dt_limit=(0.0, math.inf))),
        "pytorch_model.bin",
        torch.bfloat16,
        torch.float32,
    ),
    "ssm-mamba2-options": (
        _ssm(
            dict(layer="Mamba2", d_state=12, d_conv=3, headdim=8, ngroups=2, chunk_size=16)
            | dict(dt_limit=(0.03, 0.3), D_has_hdim=True, norm_before_gate=True, bias=True),
            tie_embeddings=False,
            pad_vocab_size_multiple=1,
        ),
        "pytorch_model.bin",
        torch.float32,
        torch.float32,
    ),
    "ssm-mamba2-no-gated-norm": (
        _ssm(
            dict(layer="Mamba2", d_state=16, d_conv=2, headdim=8, rmsnorm=False, conv_bias=False),
            rms_norm=False,
            pad_vocab_size_multiple=16,
        ),
        "model.safetensors",
        torch.float16,
        torch.float32,
    ),
}


def random_values(name, shape, generator):
    """Values for the tensor `name`, large enough for every term to move the logits."""
    normal = torch.randn(shape, generator=generator)
    uniform = torch.rand(shape, generator=generator)
    if name.endswith("A_log"):
        return torch.log(0.5 + 15.5 * uniform)
    if name.endswith("dt_bias") or name.endswith("dt_proj.bias"):
        dt = 0.005 * 100.0**uniform  # log-uniform in 0.005 ... 0.5
        return torch.log(torch.expm1(dt))
    if name.endswith("mixer.D"):
        return 1 + 0.5 * normal
    if "norm" in name and name.endswith("weight"):
        return 1 + 0.3 * normal
    if name.endswith("bias"):
        return 0.2 * normal
    return 0.4 * normal if "embedding" in name else normal / math.sqrt(shape[-1])


def ssm_shapes(config):
    """Names and shapes of mamba_ssm's MambaLMHeadModel; the embedding comes first."""
    ssm, d_model = config["ssm_cfg"], config["d_model"]
    multiple = config["pad_vocab_size_multiple"]
    rows = math.ceil(config["vocab_size"] / multiple) * multiple
    mixer = _mamba2_shapes if ssm.get("layer") == "Mamba2" else _mamba1_shapes
    shapes = {"backbone.embedding.weight": (rows, d_model)}
    norms = []
    for n in range(config["n_layer"]):
        for name, shape in mixer(ssm, d_model).items():
            shapes[f"backbone.layers.{n}.mixer.{name}"] = shape
        norms.append(f"backbone.layers.{n}.norm")
    for norm in [*norms, "backbone.norm_f"]:
        shapes[norm + ".weight"] = (d_model,)
        if not config["rms_norm"]:
            shapes[norm + ".bias"] = (d_model,)
    if not config["tie_embeddings"]:
        shapes["lm_head.weight"] = (rows, d_model)
    return shapes


def _projections(ssm, d_model, d_inner, d_in_proj, conv_dim):
    """What Mamba-1 and Mamba-2 share."""
    shapes = {
        "in_proj.weight": (d_in_proj, d_model),
        "conv1d.weight": (conv_dim, 1, ssm.get("d_conv", 4)),
        "out_proj.weight": (d_model, d_inner),
    }
    if ssm.get("bias", False):
        shapes |= {"in_proj.bias": (d_in_proj,), "out_proj.bias": (d_model,)}
    if ssm.get("conv_bias", True):
        shapes["conv1d.bias"] = (conv_dim,)
    return shapes


def _mamba1_shapes(ssm, d_model):
    d_inner, N = ssm.get("expand", 2) * d_model, ssm.get("d_state", 16)
    dt_rank = ssm.get("dt_rank", math.ceil(d_model / 16))
    return _projections(ssm, d_model, d_inner, 2 * d_inner, d_inner) | {
        "x_proj.weight": (dt_rank + 2 * N, d_inner),
        "dt_proj.weight": (d_inner, dt_rank),
        "dt_proj.bias": (d_inner,),
        "A_log": (d_inner, N),
        "D": (d_inner,),
    }


def _mamba2_shapes(ssm, d_model):
    d_inner = ssm.get("expand", 2) * d_model
    heads = d_inner // ssm.get("headdim", 64)
    conv_dim = d_inner + 2 * ssm.get("ngroups", 1) * ssm.get("d_state", 128)
    shapes = _projections(ssm, d_model, d_inner, d_inner + conv_dim + heads, conv_dim) | {
        "dt_bias": (heads,),
        "A_log": (heads,),
        "D": (d_inner if ssm.get("D_has_hdim", False) else heads,),
    }
    if ssm.get("rmsnorm", True):
        shapes["norm.weight"] = (d_inner,)
    return shapes


def make_hf(directory, model_type, options, max_shard_size, generator):
    """Writes the directory as transformers does and returns the fp32 model."""
    config_class, model_class = HF_CLASSES[model_type]
    model = model_class(config_class(**options)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # a tied head is listed once
            parameter.copy_(random_values(name, parameter.shape, generator))
    model.save_pretrained(directory, max_shard_size=max_shard_size or "5GB")
    (directory / "generation_config.json").unlink()
    for path in directory.iterdir():
        path.chmod(0o644)
    return model


def as_transformers_4(directory):
    """Rewrites config.json as transformers 4 did, and as most published files are: a bare Infinity
    (5 writes {"__float__": "Infinity"}), torch_dtype for dtype, options that nothing reads."""
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config["time_step_limit"] = [0.0, math.inf]
    config["torch_dtype"] = config.pop("dtype")
    config |= {"norm_before_gate": True, "rms_norm": True, "transformers_version": "4.44.0"}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def make_ssm(directory, config, file, matrix_dtype, vector_dtype, generator):
    """Writes the directory as mamba_ssm's save_pretrained does (or its tensors as safetensors)."""
    tensors = {}
    for name, shape in ssm_shapes(config).items():
        is_matrix = len(shape) > 1 and not name.endswith("A_log")
        values = random_values(name, shape, generator)
        tensors[name] = values.to(matrix_dtype if is_matrix else vector_dtype)
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps(config, indent=4))
    if file == "pytorch_model.bin":
        torch.save(_module_tree(tensors, config["tie_embeddings"]).state_dict(), directory / file)
    else:
        safetensors.torch.save_file(tensors, directory / file, metadata={"format": "pt"})
        (directory / file).chmod(0o644)


def _module_tree(tensors, tied):
    """Nested modules, so that state_dict() is what a real model's is: an OrderedDict with
    `_metadata`, and a tied head that shares the embedding's storage."""
    root = nn.Module()
    parameters = {k: nn.Parameter(v, requires_grad=False) for k, v in tensors.items()}
    if tied:
        parameters["lm_head.weight"] = parameters["backbone.embedding.weight"]
    for name, parameter in parameters.items():
        *path, leaf = name.split(".")
        module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module._modules[part]
        module.register_parameter(leaf, parameter)
    return root
