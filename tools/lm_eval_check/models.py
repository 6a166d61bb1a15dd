"""Two language models for lm_eval: transformers' Mamba, and the pith program."""

import json
import subprocess
import tempfile
from pathlib import Path

import safetensors.torch
import torch
import transformers
from lm_eval.api.model import LM
from lm_eval.models.huggingface import HFLM


def load_mamba1(directory):
    """A Mamba-1 checkpoint of state-spaces/mamba as transformers' model, in float32."""
    config = json.loads((directory / "config.json").read_text())
    model = transformers.MambaForCausalLM(
        transformers.MambaConfig(
            vocab_size=config["vocab_size"],
            hidden_size=config["d_model"],
            num_hidden_layers=config["n_layer"],
            pad_token_id=0,
            bos_token_id=0,
            eos_token_id=0,
            use_cache=False,
            **{
                ours: config["ssm_cfg"][theirs]
                for theirs, ours in {"d_state": "state_size", "expand": "expand"}.items()
                if theirs in config["ssm_cfg"]
            },
        )
    )
    tensors = safetensors.torch.load_file(directory / "model.safetensors")
    renamed = {k.replace("backbone.embedding.", "backbone.embeddings."): v for k, v in tensors.items()}
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    return model.float().eval()


class TorchLM(HFLM):
    """Keeps each request as lm_eval encoded it, with its result."""

    def __init__(self, directory):
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(directory / "tokenizer.json"),
            eos_token="<|endoftext|>",
            pad_token="<|endoftext|>",
        )
        super().__init__(
            pretrained=load_mamba1(directory), tokenizer=tokenizer, backend="causal",
            batch_size=32, max_length=2048, device="cpu",
        )
        self.recorded = []  # (context ids, continuation ids, log-likelihood, greedy)

    def _loglikelihood_tokens(self, requests, **options):
        results = super()._loglikelihood_tokens(requests, **options)
        for (_, context, continuation), (logprob, greedy) in zip(requests, results):
            self.recorded.append((list(context), list(continuation), logprob, greedy))
        return results


def http_lm(url, name):
    """The harness's client for servers, unchanged; texts are tokenised by the server."""
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    return LocalCompletionsAPI(
        model=name, base_url=url + "/v1/completions", tokenizer_backend="remote", num_concurrent=4,
        max_length=2048, batch_size=8,
    )


class PithLM(LM):
    """Log-likelihoods from `pith score`, which encodes the texts itself."""

    def __init__(self, program, directory, options=()):
        super().__init__()
        self.command = [program, "score", "--model", str(directory), "--json", "--quiet", *options]

    def loglikelihood(self, requests, **_):
        with tempfile.TemporaryDirectory() as folder:
            items = Path(folder) / "items.jsonl"
            with items.open("w", encoding="utf-8") as out:
                for request in requests:
                    context, continuation = request.args
                    out.write(json.dumps({"context": context, "continuation": continuation}) + "\n")
            run = subprocess.run(
                [*self.command, "--items", str(items)], check=True, capture_output=True, text=True
            )
        scores = [json.loads(line) for line in run.stdout.splitlines()]
        assert len(scores) == len(requests)
        return [(score["logprob"], score["greedy"]) for score in scores]

    def loglikelihood_rolling(self, requests, **_):
        raise NotImplementedError("these tasks need log-likelihoods of pairs only")

    def generate_until(self, requests, **_):
        raise NotImplementedError("these tasks need log-likelihoods of pairs only")
