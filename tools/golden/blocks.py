"""The small random Transformers and hybrids of the golden values, as cases.py has those of Mamba.

Sizes are chosen so that every option shows: several queries a key, scalings of rotary embeddings
that bite within 130 tokens, a window that is shorter than the texts, experts that all are used.
"""

import torch
import transformers

import cases

CLASSES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    "granite": (transformers.GraniteConfig, transformers.GraniteForCausalLM),
    "granitemoehybrid": (
        transformers.GraniteMoeHybridConfig,
        transformers.GraniteMoeHybridForCausalLM,
    ),
    "bamba": (transformers.BambaConfig, transformers.BambaForCausalLM),
    "jamba": (transformers.JambaConfig, transformers.JambaForCausalLM),
    "falcon_h1": (transformers.FalconH1Config, transformers.FalconH1ForCausalLM),
    "nemotron_h": (transformers.NemotronHConfig, transformers.NemotronHForCausalLM),
    "zamba2": (transformers.Zamba2Config, transformers.Zamba2ForCausalLM),
}

_SMALL = {"vocab_size": cases.VOCAB, "hidden_size": 32, "num_hidden_layers": 2}
_SMALL |= {"intermediate_size": 40, "num_attention_heads": 4, "num_key_value_heads": 2}
_SMALL |= {"pad_token_id": None}
_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 16, "mamba_chunk_size": 8}
_MULTIPLIERS = {"embedding_multiplier": 6.0, "residual_multiplier": 0.22}
_MULTIPLIERS |= {"attention_multiplier": 0.25, "logits_scaling": 3.0}
_NEMOTRON = {k: v for k, v in _SMALL.items() if k != "num_hidden_layers"}
_NEMOTRON |= {"head_dim": 12, "mamba_num_heads": 6, "mamba_head_dim": 8, "ssm_state_size": 16}
_NEMOTRON |= {"n_groups": 2, "chunk_size": 8}

_ZAMBA = {k: v for k, v in _SMALL.items() if k != "num_key_value_heads"}
_ZAMBA |= {"n_mamba_heads": 8, "mamba_d_state": 16, "chunk_size": 8, "adapter_rank": 5}

# name -> (model type, configuration)
CASES = {
    "hf-llama": ("llama", dict(_SMALL, head_dim=12, rms_norm_eps=1e-3)),
    "hf-llama-options": (
        "llama",
        dict(_SMALL, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)
        | {
            "rope_parameters": dict(
                rope_type="llama3", rope_theta=500.0, factor=4.0, low_freq_factor=1.0
            )
            | dict(high_freq_factor=4.0, original_max_position_embeddings=64)
        },
    ),
    "hf-llama-yarn": (
        "llama",
        dict(_SMALL, num_key_value_heads=1)
        | {
            "rope_parameters": dict(rope_type="yarn", rope_theta=1000.0, factor=4.0)
            | dict(original_max_position_embeddings=32, beta_fast=8.0)
        },
    ),
    "hf-qwen2": (
        "qwen2",
        dict(_SMALL, use_sliding_window=True, sliding_window=20, max_window_layers=1)
        | {"rope_parameters": dict(rope_type="linear", rope_theta=1000.0, factor=2.0)},
    ),
    "hf-qwen2-tied": (
        "qwen2",
        dict(_SMALL, tie_word_embeddings=True, num_key_value_heads=1, rms_norm_eps=1e-3)
        | {"rope_parameters": dict(rope_type="default", rope_theta=1e6)},
    ),
    "hf-qwen3": (
        "qwen3",
        dict(_SMALL, head_dim=12, attention_bias=True, rms_norm_eps=1e-3, max_window_layers=1)
        | dict(use_sliding_window=True, sliding_window=20),
    ),
    "hf-granite": ("granite", dict(_SMALL, tie_word_embeddings=True) | _MULTIPLIERS),
    "hf-granitemoehybrid": (
        "granitemoehybrid",
        dict(_SMALL, num_hidden_layers=3, num_local_experts=0, shared_intermediate_size=24)
        | {"layer_types": ["linear_attention", "full_attention", "linear_attention"]}
        | dict(_MAMBA, tie_word_embeddings=True)
        | _MULTIPLIERS,
    ),
    "hf-granitemoehybrid-experts": (
        "granitemoehybrid",
        dict(_SMALL, num_local_experts=4, num_experts_per_tok=2, shared_intermediate_size=24)
        | {"layer_types": ["linear_attention", "full_attention"], "intermediate_size": 12}
        | dict(_MAMBA, mamba_n_groups=2, mamba_proj_bias=True, attention_bias=True)
        | dict(position_embedding_type="rope", attention_multiplier=0.5),
    ),
    "hf-bamba": (
        "bamba",
        dict(_SMALL, num_hidden_layers=3, attn_layer_indices=[1], num_key_value_heads=1)
        | dict(_MAMBA, mamba_d_conv=3, mamba_conv_bias=False),
    ),
    "hf-jamba": (
        "jamba",
        dict(_SMALL, num_hidden_layers=3, attn_layer_period=2, attn_layer_offset=1)
        | dict(num_experts=4, expert_layer_period=2, expert_layer_offset=0)
        | dict(mamba_d_state=12, mamba_dt_rank=5, mamba_proj_bias=True, rms_norm_eps=1e-3),
    ),
    "hf-jamba-plain": (
        "jamba",
        dict(_SMALL, num_hidden_layers=4, attn_layer_period=3, attn_layer_offset=1)
        | dict(num_experts=3, num_experts_per_tok=2, expert_layer_period=2, expert_layer_offset=1)
        | dict(mamba_d_conv=3, mamba_d_state=8, mamba_dt_rank=3, num_key_value_heads=4),
    ),
    "hf-falcon-h1": (
        "falcon_h1",
        dict(_SMALL, mamba_d_ssm=48, mamba_n_heads=6, mamba_d_head=8, mamba_n_groups=2)
        | dict(mamba_d_state=16, mamba_chunk_size=8, mamba_norm_before_gate=False)
        | dict(embedding_multiplier=3.0, lm_head_multiplier=0.4, key_multiplier=0.7)
        | dict(attention_in_multiplier=1.3, attention_out_multiplier=0.6)
        | dict(ssm_in_multiplier=1.2, ssm_out_multiplier=0.8)
        | dict(mlp_multipliers=[0.9, 0.5], ssm_multipliers=[0.7, 0.5, 1.4, 0.8, 0.6]),
    ),
    "hf-falcon-h1-norm": (
        "falcon_h1",
        dict(_SMALL, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, mamba_n_groups=2)
        | dict(mamba_d_state=12, mamba_chunk_size=8, mamba_rms_norm=True, attention_bias=True)
        | dict(mamba_proj_bias=True, projectors_bias=True, mlp_bias=True, ssm_in_multiplier=0.6)
        | dict(tie_word_embeddings=True, ssm_multipliers=[1.0, 1.0, 1.0, 1.0, 1.5]),
    ),
    "hf-nemotron-h": (
        "nemotron_h",
        dict(_NEMOTRON, mlp_bias=True, use_bias=True)
        | {"layers_block_type": ["linear_attention", "mlp", "full_attention", "linear_attention"]},
    ),
    "hf-zamba2": (
        "zamba2",
        dict(_ZAMBA, num_hidden_layers=4, num_mem_blocks=2, num_key_value_heads=2)
        | {"layers_block_type": ["linear_attention", "hybrid", "hybrid", "hybrid"]}
        | dict(mamba_ngroups=2, rms_norm_eps=1e-3),
    ),
    "hf-zamba2-options": (
        "zamba2",
        dict(_ZAMBA, num_hidden_layers=3, mamba_d_conv=3)
        | {"layers_block_type": ["hybrid", "linear_attention", "hybrid"]}
        | dict(use_shared_attention_adapter=True, use_mem_rope=True, add_bias_linear=True)
        | {"rope_parameters": dict(rope_type="default", rope_theta=1000.0)}
        | dict(time_step_min=0.03),
    ),
    "hf-nemotron-h-experts": (
        "nemotron_h",
        dict(_NEMOTRON, n_routed_experts=8, num_experts_per_tok=3, n_group=4, topk_group=2)
        | dict(moe_intermediate_size=12, moe_shared_expert_intermediate_size=20)
        | dict(routed_scaling_factor=2.5)
        | {"layers_block_type": ["linear_attention", "moe", "full_attention", "moe"]},
    ),
}


def random_values(name, shape, generator):
    if name.endswith("e_score_correction_bias"):
        return 0.3 * torch.randn(shape, generator=generator)
    value = cases.random_values(name, shape, generator)
    # A shared block reads two normalised rows side by side: its scores would be so large that every
    # softmax chooses one row, and rounding errors ten times those of the other models.
    is_score = "shared_transformer.self_attn" in name and ("q_" in name or "k_" in name)
    return 0.5 * value if is_score else value


def make(directory, name, generator):
    """Writes the directory as transformers does and returns the fp32 model."""
    model_type, options = CASES[name]
    config_class, model_class = CLASSES[model_type]
    # "eager": the grouped products of experts know no float64.
    model = model_class._from_config(config_class(**options), experts_implementation="eager").eval()
    state = [*model.named_parameters()]  # a tied head is listed once
    state += [(n, b) for n, b in model.named_buffers() if n.endswith("correction_bias")]
    with torch.no_grad():
        for tensor, value in state:
            value.copy_(random_values(tensor, value.shape, generator))
    model.save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
    for path in directory.iterdir():
        path.chmod(0o644)
    return model


class Peer:
    """transformers' forward of a model with a cache of keys and values."""

    def __init__(self, model, context):
        self.model, self.context = model, context

    @torch.no_grad()
    def forward(self, ids):
        with self.context():
            return self.model(torch.tensor(ids), use_cache=False).logits

    @torch.no_grad()
    def decode(self, prefix, steps):
        """Logits after the prefix and after each step, with transformers' cache. Positions are told
        as generate() tells them: without, Bamba's forward counts every call from 0."""
        with self.context():
            output = self.model(torch.tensor([prefix]), use_cache=True)
            rows = [output.logits[0, -1]]
            for position, token in enumerate(steps, len(prefix)):
                at = {"cache": output.cache, "position_ids": torch.tensor([[position]])}
                output = self.model(torch.tensor([[token]]), use_cache=True, **at)
                rows.append(output.logits[0, -1])
        return torch.stack(rows)


@torch.no_grad()
def require_every_tensor_matters(name, peer, error, generator):
    """A tensor that could be left out unnoticed would make the golden values weak."""
    ids = [list(range(40))]
    base = peer.forward(ids)
    for tensor, value in peer.model.state_dict().items():
        if tensor.endswith("inv_freq"):
            continue
        kept = value.clone()
        value.mul_(1 + 0.1 * torch.randn(value.shape, generator=generator).to(value.dtype))
        change = (peer.forward(ids) - base).abs().max().item()
        assert change > 100 * error, f"{name}: {tensor} moves logits by {change} only"
        value.copy_(kept)
