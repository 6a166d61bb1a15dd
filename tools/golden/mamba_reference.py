"""A plain forward pass of Mamba-1, Mamba-2 and Falcon-Mamba, made to be read and trusted.

One sequence at a time, one token after the other in the scan, float64 unless told otherwise, no
fused kernel, no chunk, no cache. Reads directories as state-spaces/mamba writes them (`ssm_cfg`)
and as transformers writes them (`model_type`). Shapes: T tokens, H heads, P channels of a head,
N = d_state, G groups. Mamba-1 is the case of d_inner heads of one channel, with a decay for each
state element instead of one for the whole head.

Sources: arXiv:2312.00752 (Mamba), arXiv:2405.21060 (Mamba-2), mamba_ssm 2.x `Mamba`, `Mamba2`,
`MambaLMHeadModel` for the meaning of options.
"""

import json
import lzma
import math
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Spec:
    kind: str  # "mamba1", "mamba2" or "falcon_mamba"
    n_layer: int
    d_inner: int
    d_state: int
    dt_rank: int = 0  # Mamba-1 only
    head_dim: int = 1
    n_groups: int = 1
    layer_norm: bool = False  # LayerNorm with bias, not RMSNorm, before blocks and at the end
    eps: float = 1e-5
    bcdt_eps: float = 1e-6  # Falcon-Mamba's norms of B, C and dt
    gated_norm: bool = True  # Mamba-2: RMSNorm on the gated output
    norm_before_gate: bool = False
    norm_groups: int = 1
    dt_limit: tuple = (0.0, math.inf)

    @staticmethod
    def from_mamba_ssm(config):
        ssm = dict(config.get("ssm_cfg") or {})
        layer = ssm.pop("layer", "Mamba1")
        d_model = config["d_model"]
        common = {
            "n_layer": config["n_layer"],
            "d_inner": ssm.get("expand", 2) * d_model,
            "layer_norm": not config.get("rms_norm", True),
        }
        if layer == "Mamba1":
            dt_rank = ssm.get("dt_rank", "auto")
            return Spec(
                kind="mamba1",
                d_state=ssm.get("d_state", 16),
                dt_rank=math.ceil(d_model / 16) if dt_rank == "auto" else dt_rank,
                **common,
            )
        assert layer == "Mamba2", layer
        groups = ssm.get("ngroups", 1)
        return Spec(
            kind="mamba2",
            d_state=ssm.get("d_state", 128),
            head_dim=ssm.get("headdim", 64),
            n_groups=groups,
            gated_norm=ssm.get("rmsnorm", True),
            norm_before_gate=ssm.get("norm_before_gate", False),
            norm_groups=groups,
            dt_limit=tuple(ssm.get("dt_limit", (0.0, math.inf))),
            **common,
        )

    @staticmethod
    def from_transformers(config):
        kind = {"mamba": "mamba1"}.get(config["model_type"], config["model_type"])
        common = {
            "kind": kind,
            "n_layer": config["num_hidden_layers"],
            "d_inner": config["expand"] * config["hidden_size"],
            "d_state": config["state_size"],
            "eps": config["layer_norm_epsilon"],
        }
        if kind == "mamba2":
            # transformers norms the gated output over all of d_inner, whatever n_groups is.
            return Spec(
                head_dim=config["head_dim"],
                n_groups=config["n_groups"],
                dt_limit=tuple(_number(v) for v in config["time_step_limit"]),
                **common,
            )
        return Spec(
            dt_rank=config["time_step_rank"], bcdt_eps=config.get("mixer_rms_eps", 1e-6), **common
        )


def _number(value):
    """transformers 5 writes an infinity as {"__float__": "Infinity"}."""
    return float(value["__float__"]) if isinstance(value, dict) else value


def load(directory, dtype=torch.float64):
    """The model stored in `directory`: config.json, and safetensors (also .xz, sharded) or .bin."""
    directory = Path(directory)
    config = json.loads((directory / "config.json").read_text())
    is_hf = "model_type" in config
    spec = Spec.from_transformers(config) if is_hf else Spec.from_mamba_ssm(config)
    tensors = {}
    if (directory / "pytorch_model.bin").exists():
        tensors = torch.load(directory / "pytorch_model.bin", weights_only=True)
    for path in sorted(directory.glob("*.safetensors")):
        tensors |= safetensors.torch.load_file(path)
    if not tensors:
        tensors = safetensors.torch.load(lzma.open(directory / "model.safetensors.xz").read())
    return MambaReference(spec, tensors, dtype)


class MambaReference:
    def __init__(self, spec, tensors, dtype=torch.float64):
        self.spec, self.dtype, self.weights = spec, dtype, {}
        for name, value in tensors.items():
            name = name.removeprefix("backbone.").replace("embeddings.", "embedding.")
            self.weights[name] = value.to(dtype)

    @torch.no_grad()
    def logits(self, ids):
        """[T] token ids -> [T, rows of the head], rows that pad the vocabulary included."""
        stream = self.weights["embedding.weight"][torch.as_tensor(ids)]
        mixer = self._mamba2 if self.spec.kind == "mamba2" else self._mamba1
        for n in range(self.spec.n_layer):
            stream = stream + mixer(f"layers.{n}.mixer.", self._norm(f"layers.{n}.norm", stream))
        head = self.weights.get("lm_head.weight", self.weights["embedding.weight"])
        return self._norm("norm_f", stream) @ head.T

    def _norm(self, name, x):
        weight, eps = self.weights[name + ".weight"], self.spec.eps
        if self.spec.layer_norm:
            return F.layer_norm(x, x.shape[-1:], weight, self.weights[name + ".bias"], eps)
        return rms_norm(x, eps) * weight

    def _linear(self, name, x):
        y = x @ self.weights[name + ".weight"].T
        return y + self.weights[name + ".bias"] if name + ".bias" in self.weights else y

    def _conv(self, p, x):
        """Causal depthwise convolution: y[t] = silu(b + sum_k w[:, k] x[t - (K-1) + k])."""
        weight = self.weights[p + "conv1d.weight"].squeeze(1)  # [channels, K]
        K = weight.shape[1]
        padded = F.pad(x, (0, 0, K - 1, 0))
        y = sum(padded[k : k + len(x)] * weight[:, k] for k in range(K))
        if p + "conv1d.bias" in self.weights:
            y = y + self.weights[p + "conv1d.bias"]
        return F.silu(y)

    def _mamba1(self, p, u):
        s, w = self.spec, self.weights
        x, z = self._linear(p + "in_proj", u).split([s.d_inner, s.d_inner], -1)
        x = self._conv(p, x)
        dt, B, C = self._linear(p + "x_proj", x).split([s.dt_rank, s.d_state, s.d_state], -1)
        if s.kind == "falcon_mamba":
            dt, B, C = (rms_norm(v, s.bcdt_eps) for v in (dt, B, C))
        dt = F.softplus(self._linear(p + "dt_proj", dt))
        A = -torch.exp(w[p + "A_log"])  # [d_inner, N]
        y = selective_scan(x[:, :, None], dt, A, B[:, None], C[:, None]).squeeze(-1)
        return self._linear(p + "out_proj", (y + w[p + "D"] * x) * F.silu(z))

    def _mamba2(self, p, u):
        s, w = self.spec, self.weights
        heads, bc = s.d_inner // s.head_dim, s.n_groups * s.d_state
        widths = [s.d_inner, s.d_inner + 2 * bc, heads]
        z, xBC, dt = self._linear(p + "in_proj", u).split(widths, -1)
        x, B, C = self._conv(p, xBC).split([s.d_inner, bc, bc], -1)
        dt = F.softplus(dt + w[p + "dt_bias"]).clamp(*s.dt_limit)
        A = -torch.exp(w[p + "A_log"])[:, None]  # [H, 1]
        x = x.unflatten(-1, (heads, s.head_dim))
        B, C = (v.unflatten(-1, (s.n_groups, s.d_state)) for v in (B, C))
        D = w[p + "D"].view(heads, -1)  # [H, 1], or [H, P] where D_has_hdim
        y = (selective_scan(x, dt, A, B, C) + D * x).flatten(1)
        return self._linear(p + "out_proj", self._gate(p, y, z))

    def _gate(self, p, y, z):
        s = self.spec
        if not s.gated_norm:
            return y * F.silu(z)
        if not s.norm_before_gate:
            y = y * F.silu(z)
        y = rms_norm(y.unflatten(-1, (s.norm_groups, -1)), s.eps).flatten(-2)
        y = y * self.weights[p + "norm.weight"]
        return y * F.silu(z) if s.norm_before_gate else y


def rms_norm(x, eps):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)


def selective_scan(x, dt, A, B, C):
    """h[t] = exp(dt[t] A) h[t-1] + dt[t] x[t] B[t]^T;  y[t] = h[t] C[t].

    x [T, H, P], dt [T, H], A [H, N or 1], B and C [T, G, N] -> y [T, H, P]. Head i reads group
    i // (H / G).
    """
    T, H, P = x.shape
    N = B.shape[-1]
    B, C = (v.repeat_interleave(H // v.shape[1], dim=1) for v in (B, C))
    state = x.new_zeros(H, P, N)
    y = torch.empty_like(x)
    for t in range(T):
        decay = torch.exp(dt[t][:, None] * A)[:, None, :]  # [H, 1, N or 1]
        state = decay * state + (dt[t][:, None] * x[t])[:, :, None] * B[t][:, None, :]
        y[t] = (state * C[t][:, None, :]).sum(-1)
    return y
