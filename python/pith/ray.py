"""An evaluation over the GPUs or cores of a Ray cluster.

    import pith.ray

    results = pith.ray.evaluate("models/pith-27m-mamba2", ["lambada_openai", "piqa"],
                                ["none", "skim"], bos=True, output="out/grid")

Workers meet in journals in the output directory, as the ranks of ``pith eval`` do
(docs/scaling.md): the figures are those of one process, and a run that ended early goes on when it
is called again.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from ._pith import InvalidArgumentError
from .evaluation import Evaluation
from .model import Model


class WorkerLostError(RuntimeError):
    """A worker's process ended before its work did. The same call goes on from the journals."""


class _Worker:
    """A rank: a model of its own and a part of the evaluation."""

    def load(self, directory: str, model: str, model_options: dict, arguments: dict) -> None:
        """Not the constructor: Ray would take what it raises for a worker that is lost."""
        os.chdir(directory)
        self._evaluation = Evaluation(Model(model, **model_options), **arguments)

    def open(self, rank: int, fresh: bool) -> None:
        self._evaluation.open(rank, fresh=fresh)

    def read(self) -> None:
        self._evaluation.read()

    def score(self, size: int) -> None:
        self._evaluation.score(size)

    def results(self) -> dict:
        self._evaluation.read()
        return self._evaluation.results()


def evaluate(
    model: str | os.PathLike[str],
    tasks: Sequence[str],
    methods: Sequence[str] = ("none",),
    *,
    output: str | os.PathLike[str],
    workers: int | None = None,
    threads: int | None = None,
    model_options: Mapping[str, Any] | None = None,
    fresh: bool = False,
    **options,
) -> dict:
    """As ``pith.evaluate``, by several workers, each with a load of the model of its own.

    threads: cores of a worker. workers: how many; without it, as many as the cluster has room for,
    which is one a machine where threads is left out too. model_options: those of ``pith.Model``;
    with device="cuda" a worker has one GPU, and there are as many as there are GPUs. options:
    those of ``pith.Evaluation``.

    All machines need pith, Ray and, at the same path, the model, the data and the output directory;
    relative paths start at the caller's directory. Connects to the cluster that ray.init() found,
    or calls it. When a worker is lost, or Ctrl-C is pressed, all of them end."""
    if not ray.is_initialized():
        ray.init()
    chosen = {key: _text(value) for key, value in (model_options or {}).items()}
    if "threads" in chosen:
        raise InvalidArgumentError("model_options: got threads, expected it as an argument")
    gpus = 1 if _on_gpu(chosen) else 0
    size, cores = _divide(workers, threads, gpus)
    arguments = {"tasks": list(tasks) if not isinstance(tasks, str) else tasks,
                 "methods": list(methods) if not isinstance(methods, str) else methods,
                 "output": os.fspath(output),
                 **{key: _text(value) for key, value in options.items()}}
    make = ray.remote(_Worker).options(
        num_cpus=cores, num_gpus=gpus, max_restarts=0, scheduling_strategy="SPREAD")
    ranks = [make.remote() for _ in range(size)]
    try:
        _all([rank.load.remote(os.getcwd(), os.fspath(model), {**chosen, "threads": cores}, arguments)
              for rank in ranks])
        return _run(ranks, fresh)
    except RayTaskError as error:
        raise (error.cause if isinstance(error.cause, Exception) else error) from None
    except RayActorError as error:
        raise WorkerLostError(
            f"one of {size} workers ended early: {error}; the journals in {os.fspath(output)} hold what was "
            "scored, the same call goes on from there") from error
    finally:
        for rank in ranks:
            ray.kill(rank)
        _wait_for_locks(Path(output))


def _run(ranks: list, fresh: bool) -> dict:
    """Each line begins when all workers have ended the one before."""
    _all([ranks[0].open.remote(0, fresh)])
    _all([rank.open.remote(r, False) for r, rank in enumerate(ranks) if r > 0])
    _all([rank.read.remote() for rank in ranks])
    _all([rank.score.remote(len(ranks)) for rank in ranks])
    return ray.get(ranks[0].results.remote())


def _all(calls: list) -> None:
    """Raises what the first call to fail raised, without waiting for the others."""
    while calls:
        done, calls = ray.wait(calls)
        ray.get(done)


def _text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _on_gpu(model_options: Mapping[str, Any]) -> bool:
    device = model_options.get("device", "cpu")
    if device.startswith("cuda:"):
        raise InvalidArgumentError(
            f"device: got {device}, expected cuda: Ray gives each worker a GPU of its own")
    return device == "cuda"


def _divide(workers: int | None, threads: int | None, gpus: int) -> tuple[int, int]:
    """Workers, and cores of each."""
    for name, value in (("workers", workers), ("threads", threads)):
        if value is not None and value < 1:
            raise InvalidArgumentError(f"{name}: got {value}, expected at least 1")
    machines = [(int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
                for node in ray.nodes() if node["Alive"]]

    def room(cores: int) -> int:
        return sum(min(c // cores, g) if gpus else c // cores for c, g in machines)

    wanted = workers
    if wanted is None and threads is None:
        wanted = sum(g for _, g in machines) if gpus else sum(c > 0 for c, _ in machines)
    if threads is None:
        most = max((c for c, _ in machines), default=0)
        threads = next((t for t in range(most, 0, -1) if room(t) >= max(wanted or 0, 1)), 1)
    if room(threads) < max(wanted or 0, 1):
        raise InvalidArgumentError(
            f"workers: got {wanted or 1} of {threads} cores{' and a GPU' if gpus else ''} each, the "
            f"cluster has room for {room(threads)}")
    return wanted or room(threads), threads


def _wait_for_locks(output: Path, seconds: float = 10) -> None:
    """Until the workers, which are being ended, have let go of their journals: the next run may
    begin at once. Where this machine does not see the directory, or another run holds a journal,
    nothing is waited for in vain for longer than `seconds`."""
    until = time.monotonic() + seconds
    for path in output.glob("journal*.jsonl"):
        with path.open("rb") as journal:
            while time.monotonic() < until:
                try:
                    fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.02)
