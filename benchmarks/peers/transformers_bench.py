#!/usr/bin/env python3
"""Times transformers on PyTorch on the CPU, with random weights: see README.md beside this file.

    transformers_bench.py MODEL --threads N [--dtype f32|bf16] [--prompt 512] [--decode 32]

MODEL is a directory in the format of mamba_ssm, whose sizes are taken, or the name of a published
shape. Prints one JSON object. The time of a step is the difference between two runs of `generate`.
"""

import argparse
import json
import time

import torch
import transformers

from gguf_model import Shape, open_source


def make_model(name, dtype):
    source = open_source(name)
    shape = Shape(source.config)
    vocabulary = getattr(source, "vocabulary", None) or source.config["vocab_size"]
    common = {"vocab_size": vocabulary, "hidden_size": shape.d_model, "state_size": shape.state,
              "num_hidden_layers": shape.layers, "conv_kernel": shape.conv,
              "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": None}
    if shape.mamba2:
        config = transformers.Mamba2Config(
            **common, num_heads=shape.heads, head_dim=shape.head_dim, n_groups=shape.groups,
            expand=shape.inner // shape.d_model, tie_word_embeddings=True)
        model = transformers.Mamba2ForCausalLM(config)
    else:
        config = transformers.MambaConfig(**common, expand=shape.inner // shape.d_model,
                                          time_step_rank=shape.rank, tie_word_embeddings=True)
        model = transformers.MambaForCausalLM(config)
    return model.to(dtype).eval(), vocabulary


@torch.inference_mode()
def seconds_of(model, ids, new_tokens):
    start = time.perf_counter()
    model.generate(ids, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--dtype", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=32)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    dtype = torch.float32 if args.dtype == "f32" else torch.bfloat16
    model, vocabulary = make_model(args.model, dtype)
    ids = torch.randint(0, vocabulary, (1, args.prompt))
    seconds_of(model, ids[:, :16], 2)
    one = seconds_of(model, ids, 1)
    more = seconds_of(model, ids, 1 + args.decode)
    print(json.dumps({"prefill": args.prompt / one, "decode": args.decode / (more - one),
                      "version": f"transformers {transformers.__version__}, "
                                 f"PyTorch {torch.__version__}"}))


if __name__ == "__main__":
    main()
