"""Tasks under reductions, as ``pith eval`` measures them: the same journal, the same figures."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence

from . import _pith
from .model import Model
from .progress import ProgressBar


class Evaluation:
    """One process's part of an evaluation that several may share (docs/scaling.md).

    Each process makes one with the same arguments, on its own load of the model, and calls in this
    order, where nobody begins a step before all have ended the one before::

        open(0)                 the first process alone; then the others: open(1), open(2), ...
        read()                  each
        score(processes)        each
        read(), results()       the first process alone

    ``evaluate`` is that for one process, ``pith.ray.evaluate`` for many."""

    def __init__(
        self,
        model: Model,
        tasks: Sequence[str],
        methods: Sequence[str] = ("none",),
        *,
        output: str | os.PathLike[str],
        limit: int = 0,
        scoring: str = "context",
        bos: bool = False,
        data: str | os.PathLike[str] = "data",
        text_file: str | os.PathLike[str] | None = None,
        context: int = 1792,
        tail: int = 256,
        recall_tokens: int = 0,
        seed: int = 0,
    ) -> None:
        """Arguments are the options of ``pith eval``, with its defaults; tasks are named always."""
        for name, value in (("tasks", tasks), ("methods", methods)):
            if isinstance(value, str) or len(value) == 0:
                raise _pith.InvalidArgumentError(
                    f"{name}: got {value!r}, expected a list of at least one name")
        options = _pith.TaskOptions()
        options.data, options.limit, options.bos = os.fspath(data), limit, bos
        options.text = "" if text_file is None else os.fspath(text_file)
        options.context, options.tail = context, tail
        options.recall_tokens, options.seed = recall_tokens, seed
        os.makedirs(output, exist_ok=True)
        self._native = _pith.Evaluation(
            model._engine, model._options_of_engine, model._path, model._tokenizer, list(tasks),
            list(methods), scoring, options, os.fspath(output))

    def open(self, rank: int = 0, *, fresh: bool = False) -> None:
        """Opens this process's journal. fresh: the first process empties its own, if there is one,
        and removes the others'."""
        self._native.open(rank, fresh)

    def read(self) -> None:
        """Reads what all processes have written, of this run and earlier ones."""
        self._native.read()

    def score(self, size: int) -> None:
        """Scores this process's share, of `size` processes, of what no journal holds."""
        self._native.score(size)

    def results(self, *, progress: Callable[[float], object] | None = None) -> dict:
        """Scores what is missing still, writes results.json and results.csv, and returns what the
        first one says (docs/formats/eval.md). progress is told now and then, on this thread, the
        share that is done, 0 to 1; what it raises stops the work and comes out of this call."""
        return json.loads(self._native.results(progress))

    @property
    def scored(self) -> int:
        """Items that the journals held when they were read, or that were scored since."""
        return self._native.scored


def evaluate(
    model: Model,
    tasks: Sequence[str],
    methods: Sequence[str] = ("none",),
    *,
    output: str | os.PathLike[str],
    fresh: bool = False,
    progress: bool = True,
    **options,
) -> dict:
    """Tasks under several reductions, in this process; what ``pith eval --output`` writes.

    Goes on where an earlier run with this output directory stopped, whichever program it was.
    progress: a bar on standard error shows the time left, where that is a terminal and the work
    lasts longer than two seconds. options: those of ``Evaluation``."""
    evaluation = Evaluation(model, tasks, methods, output=output, **options)
    evaluation.open(fresh=fresh)
    evaluation.read()
    with ProgressBar("evaluating", progress) as bar:
        return evaluation.results(progress=bar.show)
