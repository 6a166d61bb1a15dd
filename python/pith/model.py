"""Models and sessions: texts or token ids in, results out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, Union

import numpy as np

from . import _pith
from ._pith import (
    Generation,
    InspectReport,
    InvalidArgumentError,
    ModelInfo,
    Perplexity,
    PlanReport,
    PrefillReport,
    Reduction,
    Score,
)

Text = Union[str, Sequence[int]]
"""A text, or its token ids."""
Reduce = Union[str, Reduction]


class PolicySite(Protocol):
    """What stands at one site of one text, as a policy sees it."""

    layer: int
    """0-based; the rows have passed it."""
    rows: int
    positions: np.ndarray
    """[rows] original positions, int32, strictly increasing."""
    importance: np.ndarray
    """[rows], float32; empty where the policy reads none."""
    features: np.ndarray
    """[rows, width], float32; empty likewise."""
    protected_tail: int
    """The last rows, which are neither removed nor altered."""


Plan = Union[Sequence[int], np.ndarray, tuple]
"""The rows that go, in increasing order; or these and, for each, the kept row that it is averaged
into, -1 where it is dropped."""


class Model:
    """A model and its tokenizer. Threads may share it; computing lets go of Python's lock, and
    Ctrl-C stops it."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        device: str = "cpu",
        dtype: str = "f32",
        weights: str = "stored",
        state_dtype: str = "f32",
        threads: int = 0,
        tokenizer: str | os.PathLike[str] | None = None,
        verify_weights: bool = True,
    ) -> None:
        """Loads a directory with config.json, weights and tokenizer.json, or a GGUF file.

        device: "cpu", "reference", "cuda" or "cuda:N". dtype: what matrix products read, "f32",
        "bf16", "f16" or "fp8". weights: "stored", "int8" or "int4". threads: 0 means all
        processors."""
        options = _pith.EngineOptions()
        options.device, options.dtype = device, dtype
        options.weights, options.state_dtype = weights, state_dtype
        options.threads, options.verify_weights = threads, verify_weights
        self._path = os.fspath(path)
        self._tokenizer = None if tokenizer is None else os.fspath(tokenizer)
        self._options_of_engine = options
        self._engine = _pith.Engine.load(self._path, options, self._tokenizer)

    @property
    def info(self) -> ModelInfo:
        return self._engine.info

    def tokenize(self, text: str, *, bos: bool = False) -> list[int]:
        """Token ids. With bos, the end-of-text token stands in front."""
        return self._engine.tokenize(text, bos)

    def detokenize(self, ids: Sequence[int]) -> str:
        """The text of token ids. A token may hold a part of a character's bytes: where the rest is
        missing, U+FFFD stands."""
        return self._engine.detokenize(list(ids))

    def reduction(
        self, text: str, *, sites: Sequence[int] = (), count_head: bool = False
    ) -> Reduction:
        """Compiles a reduction once, for all calls that take one.

        sites: layers after which rows go, in place of the method's own. count_head: the share that
        is asked for counts the head's work too."""
        return self._engine.compile(text, list(sites), count_head)

    def policy(
        self,
        plan: Callable[[PolicySite, int], Plan],
        amount: str,
        *,
        name: str = "own",
        importance: str = "",
        features: str = "",
        merges: bool = False,
    ) -> Reduction:
        """A reduction by a method of your own.

        plan(site, remove) says which `remove` rows go of the first site.rows - site.protected_tail:
        the rows in increasing order, or, with merges, a pair of these and of their targets. It must
        depend on its arguments alone. amount: as behind a method's name, such as "@30%" or
        "@30%:protect=64,sites=5+9". importance: "ssm", "gated" or "hidden"; features: one of these,
        "combined" or "keys"."""
        return self._engine.compile_policy(plan, name, amount, importance, features, merges)

    def generate(
        self,
        prompt: Text,
        *,
        reduce: Reduce = "none",
        max_tokens: int = 128,
        greedy: bool = False,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        stop_at_end_of_text: bool = True,
    ) -> Generation:
        """Reads a prompt of at least one token, reduced, and goes on with it."""
        arguments = locals()
        del arguments["self"], arguments["prompt"]
        return self.session().generate(prompt, **arguments)

    def stream(self, prompt: Text, **options) -> TextStream:
        """As generate, with its options; an iterator of pieces of text as they become final."""
        return self.session().stream(prompt, **options)

    def score(
        self,
        pairs: Sequence[tuple[Text, Text]],
        *,
        reduce: Reduce = "none",
        mode: str = "context",
        logprobs: bool = False,
    ) -> list[Score]:
        """How likely each continuation is after its context, which alone is reduced.

        A pair of texts is encoded as lm-evaluation-harness does it. The same numbers whatever
        stands beside a pair. logprobs: list each token of the continuations."""
        items = [self._encode_pair(*pair) for pair in pairs]
        return self._engine.score(items, self._reduction(reduce), mode, logprobs)

    def perplexity(self, text: Text) -> Perplexity:
        """Of a document of at least two tokens, in one pass."""
        return self._engine.perplexity(self._ids(text))

    def plan(self, tokens: int, reduce: Reduce) -> PlanReport:
        """What a reduction would do to a context of so many tokens."""
        return self._engine.plan(tokens, self._reduction(reduce))

    def inspect(self, text: Text, reduce: Reduce) -> InspectReport:
        """What a reduction does to this context, token by token."""
        return self._engine.inspect(self._ids(text), self._reduction(reduce))

    def logits(self, text: Text, *, reduce: Reduce = "none") -> np.ndarray:
        """[vocab_size], float32: what follows the text, before any softmax."""
        session = self.session()
        session.append(text, reduce=reduce)
        return session.logits()

    def session(self) -> Session:
        """A text that is read and written piece by piece."""
        return Session(self, self._engine.new_session())

    def load_session(self, path: str | os.PathLike[str]) -> Session:
        return Session(self, self._engine.load_session(os.fspath(path)))

    def _ids(self, text: Text) -> list[int]:
        if isinstance(text, str):
            return self._engine.tokenize(text, False)
        return [int(i) for i in text]

    def _encode_pair(self, context: Text, continuation: Text) -> tuple[list[int], list[int]]:
        if isinstance(context, str) and isinstance(continuation, str):
            return self._engine.encode_pair(context, continuation)
        return self._ids(context), self._ids(continuation)

    def _reduction(self, reduce: Reduce) -> Reduction:
        return self.reduction(reduce) if isinstance(reduce, str) else reduce

    def _options(self, *, reduce: Reduce = "none", max_tokens: int = 128,
                 stop: str | Sequence[str] = (), stop_at_end_of_text: bool = True,
                 **sampling) -> _pith.GenerateOptions:
        options = _pith.GenerateOptions()
        options.reduction = self._reduction(reduce)
        options.max_tokens = max_tokens
        options.stop = [stop] if isinstance(stop, str) else list(stop)
        options.stop_at_end_of_text = stop_at_end_of_text
        chosen = _pith.SamplingOptions()
        for key, value in sampling.items():
            if key.startswith("_") or not hasattr(chosen, key):
                known = sorted(k for k in dir(chosen) if not k.startswith("_"))
                raise TypeError(f"unexpected option {key!r}, expected reduce, max_tokens, stop, "
                                f"stop_at_end_of_text, {', '.join(known)}")
            setattr(chosen, key, value)
        options.sampling = chosen
        return options


class Session:
    """One text being read and written; Model.session makes it. One thread at a time."""

    def __init__(self, model: Model, native: _pith.Session) -> None:
        self._model = model
        self._native = native
        self._lock = threading.Lock()

    @property
    def tokens(self) -> int:
        """Tokens read so far."""
        return self._native.tokens

    def append(self, text: Text, *, reduce: Reduce = "none") -> PrefillReport:
        """Reads more text, reduced as one context of its own."""
        with self._alone():
            return self._native.append(self._model._ids(text), self._model._reduction(reduce))

    def generate(self, prompt: Text = (), **options) -> Generation:
        """Goes on with the text, after reading the prompt if there is one. Options are those of
        Model.generate."""
        with self._alone():
            return self._native.generate(self._model._ids(prompt), self._model._options(**options))

    def stream(self, prompt: Text = (), **options) -> TextStream:
        """As generate; an iterator of pieces of text. Until it has ended or is closed, the session
        is in use."""
        ids, chosen = self._model._ids(prompt), self._model._options(**options)
        self._take()
        return TextStream(self._native.stream(ids, chosen), self._lock.release)

    def fork(self) -> Session:
        """The same text, to be gone on with in another way."""
        with self._alone():
            return Session(self._model, self._native.fork())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Everything read and written so far, for Model.load_session."""
        with self._alone():
            self._native.save(os.fspath(path))

    def logits(self) -> np.ndarray:
        """[vocab_size], float32: what follows the last token read, before any softmax."""
        with self._alone():
            return self._native.logits()

    def _take(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise InvalidArgumentError(
                "session: it is in use by another call or by a stream that has not ended; "
                "fork it, or close the stream")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._take()
        try:
            yield
        finally:
            self._lock.release()


class TextStream(Iterator[str]):
    """Pieces of a text as they become final, valid Unicode each."""

    def __init__(self, native: _pith.TextStream, release: Callable[[], None]) -> None:
        self._native = native
        self._release: Callable[[], None] | None = release

    def __next__(self) -> str:
        if self._release is None:
            raise StopIteration
        try:
            piece = self._native.next()
        except BaseException:
            self.close()
            raise
        if piece is None:
            self.close()
            raise StopIteration
        return piece

    def close(self) -> None:
        """Ends the text early; one that has ended stays as it is."""
        if self._release is not None:
            self._native.stop()
            self._release()
            self._release = None

    def __enter__(self) -> TextStream:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    @property
    def result(self) -> Generation:
        """The whole text; of a stream that has ended."""
        return self._native.result()
