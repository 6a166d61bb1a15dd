#!/usr/bin/env python3
"""Times a hybrid of transformers on the GPU, with the kernels it takes: see README.md beside this file.

    hybrid_cuda_bench.py --mamba-ssm DIR --conv1d DIR [--shape granite-4.0-h-350m] [--repeats 5]

prints one JSON object, times in milliseconds, medians over the repeats.
"""

import argparse
import json
import logging
import os
import sys

import torch

import mamba_ssm_bench as mamba_bench

# As `pith bench --shape` has them: width, blocks, width of the MLP, blocks with attention.
SHAPES = {"granite-4.0-h-350m": (768, 32, 2048, (10, 13, 17, 27)),
          "granite-4.0-h-1b": (1536, 40, 4096, (5, 15, 25, 35))}
PROMPT = 2048
BATCHES = (1, 8)
STEPS = 32


class Fallbacks(logging.Handler):
    """Keeps what transformers says where it takes a slow reference in place of a kernel."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        if "falling back" in record.getMessage():
            self.messages.append(record.getMessage())


def build_convolution(source):
    """Compiles causal_conv1d from its source, for the GPU that is here, and makes it importable.
    What only training calls stays undefined, so names are resolved when they are first called."""
    from torch.utils import cpp_extension
    major, minor = torch.cuda.get_device_capability()
    os.environ["TORCH_CUDA_ARCH_LIST"] = f"{major}.{minor}"
    files = [f"{source}/csrc/causal_conv1d{part}" for part in
             (".cpp", "_fwd.cu", "_update.cu")]
    undefine = [f"-U__CUDA_NO_{kind}_{what}__" for kind in ("HALF", "BFLOAT16", "BFLOAT162")
                for what in ("OPERATORS", "CONVERSIONS")]
    sys.setdlopenflags(os.RTLD_LAZY)
    sys.modules["causal_conv1d_cuda"] = cpp_extension.load(
        "causal_conv1d_cuda", files, extra_cflags=["-O3"], extra_include_paths=[source + "/csrc"],
        extra_cuda_cflags=["-O3", "--use_fast_math", "--expt-relaxed-constexpr",
                           "--expt-extended-lambda", *undefine])
    sys.path.insert(0, source)


def make_model(shape, dtype, attention):
    from transformers import GraniteMoeHybridConfig, GraniteMoeHybridForCausalLM
    width, blocks, hidden, attends = SHAPES[shape]
    config = GraniteMoeHybridConfig(
        vocab_size=100352, hidden_size=width, num_hidden_layers=blocks,
        shared_intermediate_size=hidden, num_attention_heads=12, num_key_value_heads=4,
        mamba_n_heads=width // 32, mamba_d_head=64, mamba_d_state=128, mamba_expand=2,
        mamba_n_groups=1, num_local_experts=0, rms_norm_eps=1e-5, position_embedding_type="nope",
        tie_word_embeddings=True, attn_implementation=attention, pad_token_id=0, bos_token_id=0,
        eos_token_id=None,
        layer_types=["attention" if i in attends else "mamba" for i in range(blocks)])
    torch.manual_seed(0)
    with torch.device("cuda"):
        return GraniteMoeHybridForCausalLM(config).to(dtype).eval()


class Bench:
    def __init__(self, model, repeats):
        self.model = model
        self.repeats = repeats

    def prompts(self, batch):
        return torch.randint(0, self.model.config.vocab_size, (batch, PROMPT), device="cuda")

    @torch.inference_mode()
    def prefill(self, batch):
        ids = self.prompts(batch)
        return mamba_bench.median_ms(
            lambda: self.model(ids, use_cache=True, logits_to_keep=1), self.repeats)

    @torch.inference_mode()
    def step(self, batch):
        """One token more for each text, the most likely one, which stays on the GPU."""
        ids = self.prompts(batch)
        read = self.model(ids, use_cache=True, logits_to_keep=1)
        cache, token = read.past_key_values, read.logits[:, -1].argmax(-1, keepdim=True)

        def work():
            ahead = token
            for _ in range(STEPS):
                logits = self.model(ahead, past_key_values=cache, use_cache=True).logits
                ahead = logits[:, -1].argmax(-1, keepdim=True)

        return mamba_bench.median_ms(work, self.repeats) / STEPS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mamba-ssm", required=True, help="unpacked source of mamba_ssm")
    parser.add_argument("--conv1d", required=True, help="unpacked source of causal_conv1d")
    parser.add_argument("--shape", default="granite-4.0-h-350m", choices=SHAPES)
    parser.add_argument("--dtype", default="bf16", choices=mamba_bench.DTYPES)
    parser.add_argument("--attention", default="sdpa", help="transformers' attn_implementation")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    build_convolution(args.conv1d)
    convolution, _ = mamba_bench.load_library(args.mamba_ssm)
    import transformers
    fallbacks = Fallbacks()
    transformers.utils.logging.get_logger("transformers").addHandler(fallbacks)
    bench = Bench(make_model(args.shape, mamba_bench.DTYPES[args.dtype], args.attention),
                  args.repeats)
    out = {"transformers": transformers.__version__, "torch": torch.__version__,
           "mamba_ssm": mamba_bench.library_version(args.mamba_ssm), "convolution": convolution,
           "gpu": torch.cuda.get_device_name(), "shape": args.shape, "dtype": args.dtype,
           "attention": args.attention}
    for part in ("prefill", "step"):
        for batch in BATCHES:
            out[f"{part}_{batch}_ms"] = round(getattr(bench, part)(batch), 3)
    out["peak_bytes"] = torch.cuda.max_memory_allocated()
    if fallbacks.messages:
        sys.exit("no measure, since transformers took a reference in place of a kernel:\n"
                 + "\n".join(fallbacks.messages))
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
