"""pith inside lm-evaluation-harness, in its own process.

    python -m pith.lm_eval --model pith --tasks lambada_openai --limit 100 \\
        --model_args pretrained=models/pith-27m-mamba2,reduce=utrc@20%

Arguments are lm_eval's own; importing this module is what makes it know the model ``pith``. Further
model_args are those of ``pith.Model`` (device, dtype, weights, threads, tokenizer).
"""

from __future__ import annotations

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from .model import Model


@register_model("pith")
class PithLM(LM):
    """Contexts are reduced, continuations never; generation reads its prompt reduced."""

    def __init__(self, pretrained: str, reduce: str = "none", max_gen_toks: int = 256,
                 batch_size: int | str = 1, max_batch_size: int | None = None,
                 **options) -> None:
        """batch_size and max_batch_size, which lm_eval hands to every model, change nothing: pith
        batches by tokens, and its numbers do not depend on it."""
        super().__init__()
        if options.get("threads") is not None:
            options["threads"] = int(options["threads"])
        self._model = Model(pretrained, **options)
        self._reduction = self._model.reduction(reduce)
        self._max_gen_toks = int(max_gen_toks)

    def loglikelihood(self, requests, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        pairs = [self._encode(*request.args) for request in requests]
        scores = self._model.score(pairs, reduce=self._reduction)
        return [(score.logprob, score.greedy) for score in scores]

    def loglikelihood_rolling(self, requests, disable_tqdm: bool = False) -> list[float]:
        pairs = [([self._prefix()], self._model.tokenize(request.args[0])) for request in requests]
        return [score.logprob for score in self._model.score(pairs)]

    def generate_until(self, requests, disable_tqdm: bool = False) -> list[str]:
        return [self._generate(*request.args) for request in requests]

    def _generate(self, context: str, options: dict) -> str:
        until = options.get("until") or []
        sample = options.get("do_sample", False)
        return self._model.generate(
            context, reduce=self._reduction,
            max_tokens=int(options.get("max_gen_toks", self._max_gen_toks)),
            stop=until, greedy=not sample,
            temperature=float(options.get("temperature", 1.0)) if sample else 1.0,
            top_p=float(options.get("top_p", 1.0)) if sample else 1.0,
        ).text

    def _encode(self, context: str, continuation: str):
        # lm_eval's rule: an empty context is the end-of-text token.
        if context == "":
            return [self._prefix()], self._model.tokenize(continuation)
        return context, continuation

    def _prefix(self) -> int:
        end = self._model.info.end_of_text
        if end is None:
            raise ValueError("the model names no end-of-text token, which an empty context needs")
        return end


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
