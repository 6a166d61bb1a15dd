#!/usr/bin/env python3
"""Times mamba_ssm, the library of the authors of Mamba, on the GPU: see README.md beside this file.

    mamba_ssm_bench.py --source DIR [--shape mamba2-2.7b] [--dtype bf16] [--repeats 5]

prints one JSON object, times in milliseconds, medians over the repeats.
"""

import argparse
import glob
import json
import os
import statistics
import sys
import time
import types

import torch
import triton
import triton.language as tl

SHAPES = {
    "mamba-130m": ("Mamba1", 768, 24), "mamba-370m": ("Mamba1", 1024, 48),
    "mamba-790m": ("Mamba1", 1536, 48), "mamba-1.4b": ("Mamba1", 2048, 48),
    "mamba-2.8b": ("Mamba1", 2560, 64),
    "mamba2-130m": ("Mamba2", 768, 24), "mamba2-370m": ("Mamba2", 1024, 48),
    "mamba2-780m": ("Mamba2", 1536, 48), "mamba2-1.3b": ("Mamba2", 2048, 48),
    "mamba2-2.7b": ("Mamba2", 2560, 64),
}
DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16}
VOCABULARY = 50277
PROMPT = 2048
BATCHES = (1, 16)
STEPS = 100


@triton.jit
def conv_kernel(x, weight, bias, out, length, channels, xb, xc, xl, ob, oc, ol,
                WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """out[b, t, c] = silu(bias[c] + Σ_k weight[c, k] x[b, t − WIDTH + 1 + k, c]), zeros in front."""
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    batch = tl.program_id(2).to(tl.int64)
    there = columns < channels
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    total += tl.load(bias + columns, mask=there, other=0.0).to(tl.float32)[None, :]
    for k in tl.static_range(WIDTH):
        at = rows - (WIDTH - 1) + k
        value = tl.load(x + batch * xb + at[:, None] * xl + columns[None, :] * xc,
                        mask=(at >= 0)[:, None] & (at < length)[:, None] & there[None, :], other=0.0)
        total += value.to(tl.float32) * tl.load(weight + columns * WIDTH + k, mask=there,
                                                other=0.0).to(tl.float32)[None, :]
    total = total * tl.sigmoid(total)
    tl.store(out + batch * ob + rows[:, None] * ol + columns[None, :] * oc,
             total.to(out.dtype.element_ty), mask=(rows < length)[:, None] & there[None, :])


@triton.jit
def conv_step_kernel(x, state, weight, bias, out, channels, xb, sb, sc, sw,
                     WIDTH: tl.constexpr, COLUMNS: tl.constexpr):
    """One token more: the window moves by one, then as conv_kernel."""
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    batch = tl.program_id(1).to(tl.int64)
    there = columns < channels
    window = state + batch * sb + columns * sc
    total = tl.load(bias + columns, mask=there, other=0.0).to(tl.float32)
    for k in tl.static_range(WIDTH):
        if k + 1 < WIDTH:
            value = tl.load(window + (k + 1) * sw, mask=there, other=0.0)
        else:
            value = tl.load(x + batch * xb + columns, mask=there, other=0.0)
        tl.store(window + k * sw, value, mask=there)
        total += value.to(tl.float32) * tl.load(weight + columns * WIDTH + k, mask=there,
                                                other=0.0).to(tl.float32)
    total = total * tl.sigmoid(total)
    tl.store(out + batch * channels + columns, total.to(out.dtype.element_ty), mask=there)


def causal_conv1d_fn(x, weight, bias=None, seq_idx=None, activation=None, **_):
    """x: [batch, channels, length], channels (Mamba-2) or rows (Mamba-1) next to each other in
    memory; the result is laid out alike."""
    assert activation == "silu" or activation == "swish"
    assert bias is not None and seq_idx is None and 1 in (x.stride(1), x.stride(2))
    batch, channels, length = x.shape
    weight = weight.contiguous()
    if x.stride(1) == 1:
        out = torch.empty(batch, length, channels, dtype=x.dtype, device=x.device).transpose(1, 2)
        rows, columns = 32, 128
    else:
        out = torch.empty(batch, channels, length, dtype=x.dtype, device=x.device)
        rows, columns = 128, 32
    grid = (triton.cdiv(length, rows), triton.cdiv(channels, columns), batch)
    conv_kernel[grid](x, weight, bias, out, length, channels, *x.stride(), *out.stride(),
                      WIDTH=weight.shape[1], ROWS=rows, COLUMNS=columns)
    return out


def causal_conv1d_update(x, conv_state, weight, bias=None, activation=None, **_):
    """x: [batch, channels]; conv_state: [batch, channels, width]."""
    assert activation == "silu" or activation == "swish"
    assert bias is not None and x.stride(1) == 1
    batch, channels = x.shape
    weight = weight.contiguous()
    out = torch.empty(batch, channels, dtype=x.dtype, device=x.device)
    conv_step_kernel[(triton.cdiv(channels, 256), batch)](
        x, conv_state, weight, bias, out, channels, x.stride(0), *conv_state.stride(),
        WIDTH=weight.shape[1], COLUMNS=256)
    return out


def check_conv():
    """The stand-in computes what the layer's own convolution computes, but for rounding."""
    torch.manual_seed(0)
    channels, length = 300, 70
    conv = torch.nn.Conv1d(channels, channels, 4, groups=channels, padding=3, device="cuda")
    x = torch.randn(2, length, channels, device="cuda")
    weight = conv.weight.detach().squeeze(1)
    want = torch.nn.functional.silu(conv(x.transpose(1, 2))[..., :length]).detach()
    for layout in (x.transpose(1, 2), x.transpose(1, 2).contiguous()):
        torch.testing.assert_close(
            causal_conv1d_fn(layout, weight, conv.bias.detach(), activation="silu"), want)
    state = x[:, length - 5:length - 1].transpose(1, 2).contiguous()
    step = causal_conv1d_update(x[:, -1], state, weight, conv.bias.detach(), activation="silu")
    torch.testing.assert_close(step, want[..., -1])
    torch.testing.assert_close(state, x[:, length - 4:].transpose(1, 2))


def build_scan(source):
    """Compiles the parts of selective_scan_cuda that prefill needs, by nvcc, and imports it. What
    only training calls stays undefined, so names are resolved when they are first called."""
    from torch.utils import cpp_extension
    folder = source + "/csrc/selective_scan"
    files = [folder + "/selective_scan.cpp", *sorted(glob.glob(folder + "/selective_scan_fwd_*.cu"))]
    flags = ["-O3", "-std=c++20", "--expt-relaxed-constexpr", "--expt-extended-lambda",
             "--use_fast_math", "-U__CUDA_NO_HALF_OPERATORS__", "-U__CUDA_NO_HALF_CONVERSIONS__",
             "-U__CUDA_NO_BFLOAT16_OPERATORS__", "-U__CUDA_NO_BFLOAT16_CONVERSIONS__"]
    sys.setdlopenflags(os.RTLD_LAZY)
    sys.modules["selective_scan_cuda"] = cpp_extension.load(
        "selective_scan_cuda", files, extra_cflags=["-O3", "-std=c++20"], extra_cuda_cflags=flags,
        extra_include_paths=[folder])


def load_library(source):
    """mamba_ssm without running its __init__.py, which wants every compiled extension. Returns how
    the convolution runs, and whether selective_scan_cuda is there."""
    sys.path.insert(0, source)
    package = types.ModuleType("mamba_ssm")
    package.__path__ = [source + "/mamba_ssm"]
    sys.modules["mamba_ssm"] = package
    try:
        import selective_scan_cuda  # noqa: F401
        has_scan = True
    except ImportError:
        sys.modules["selective_scan_cuda"] = types.ModuleType("selective_scan_cuda")
        has_scan = False
    try:
        import causal_conv1d
        return f"causal_conv1d {causal_conv1d.__version__}", has_scan
    except ImportError:
        pass
    check_conv()
    stand_in = types.ModuleType("causal_conv1d")
    stand_in.__path__ = []
    stand_in.causal_conv1d_fn = causal_conv1d_fn
    stand_in.causal_conv1d_update = causal_conv1d_update
    sys.modules["causal_conv1d"] = stand_in
    return "a Triton kernel of this script, in place of causal_conv1d", has_scan


def library_version(source):
    with open(source + "/mamba_ssm/__init__.py", encoding="utf-8") as file:
        return file.readline().split('"')[1]


def median_ms(work, repeats):
    """`work` ends with the GPU at rest; the first call, which compiles and tunes, is not timed."""
    work()
    times = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


class Bench:
    def __init__(self, kind, d_model, n_layer, dtype, repeats):
        from mamba_ssm.models.config_mamba import MambaConfig
        from mamba_ssm.models.mixer_seq_simple import MambaLMHeadModel
        torch.manual_seed(0)
        config = MambaConfig(d_model=d_model, n_layer=n_layer, vocab_size=VOCABULARY,
                             ssm_cfg={"layer": kind}, pad_vocab_size_multiple=16)
        self.model = MambaLMHeadModel(config, device="cuda", dtype=dtype).eval()
        self.repeats = repeats

    def prompts(self, batch):
        return torch.randint(0, VOCABULARY, (batch, PROMPT), device="cuda")

    @torch.inference_mode()
    def prefill(self, batch):
        """Reads the prompts and leaves their states: the last logits alone are computed."""
        from mamba_ssm.utils.generation import InferenceParams
        ids = self.prompts(batch)
        params = InferenceParams(max_seqlen=PROMPT + STEPS, max_batch_size=batch)

        def work():
            params.seqlen_offset = 0
            self.model(ids, inference_params=params, num_last_tokens=1)

        return median_ms(work, self.repeats)

    @torch.inference_mode()
    def step(self, batch):
        """The library's CUDA graph of a step and the most likely token, which stays on the GPU."""
        from mamba_ssm.utils.generation import update_graph_cache
        cache = update_graph_cache(self.model, None, batch, PROMPT, PROMPT + STEPS)
        position = torch.full((batch, 1), PROMPT, dtype=torch.long, device="cuda")
        ids = torch.zeros((batch, 1), dtype=torch.long, device="cuda")

        def work():
            token = ids
            for i in range(STEPS):
                logits = cache.run(token, position, PROMPT + i)
                token = logits[:, -1].argmax(dim=-1, keepdim=True)

        return median_ms(work, self.repeats) / STEPS

    @torch.inference_mode()
    def generate(self, batch):
        ids = self.prompts(batch)

        def work():
            self.model.generate(ids, PROMPT + STEPS, cg=True, top_k=1)

        return median_ms(work, self.repeats)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", required=True, help="unpacked source of mamba_ssm")
    parser.add_argument("--shape", default="mamba2-2.7b", choices=SHAPES)
    parser.add_argument("--dtype", default="bf16", choices=DTYPES)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parts", default="prefill,step,generate")
    parser.add_argument("--build-scan", action="store_true",
                        help="compile Mamba-1's scan from the library's source; needs nvcc")
    args = parser.parse_args()
    if args.build_scan:
        build_scan(args.source)
    convolution, has_scan = load_library(args.source)
    kind, d_model, n_layer = SHAPES[args.shape]
    out = {"library": "mamba_ssm " + library_version(args.source), "torch": torch.__version__,
           "triton": triton.__version__, "gpu": torch.cuda.get_device_name(), "shape": args.shape,
           "dtype": args.dtype, "states": args.dtype, "convolution": convolution}
    if kind == "Mamba1" and not has_scan:
        out["not_measured"] = "Mamba-1 needs selective_scan_cuda, a compiled extension"
        print(json.dumps(out, indent=1))
        return
    bench = Bench(kind, d_model, n_layer, DTYPES[args.dtype], args.repeats)
    for part in args.parts.split(","):
        for batch in BATCHES:
            if part != "generate" or batch == BATCHES[-1]:
                out[f"{part}_{batch}_ms"] = round(getattr(bench, part)(batch), 3)
    out["peak_bytes"] = torch.cuda.max_memory_allocated()
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
