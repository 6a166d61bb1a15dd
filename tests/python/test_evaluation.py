"""pith.evaluate and pith.ray.evaluate against `pith eval`: the same journals, the same figures to
the last bit, whoever scored what, and nothing scored twice.

Clock and memory are the run's own and are left out of every comparison."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

import pith

ROOT = Path(__file__).parents[2]
TASKS = ["lambada_openai", "piqa"]
METHODS = ["none", "skim", "utrc@20%"]
LIMIT = 24
OWN = ("context_seconds", "tokens_per_second", "peak_memory_bytes")


def program():
    path = os.environ.get("PITH_PROGRAM")
    if not path:
        pytest.skip("PITH_PROGRAM does not name the program pith")
    return path


def run_program(model_path, output, *, limit=LIMIT):
    subprocess.run([program(), "eval", "--model", model_path, "--data", ROOT / "data", "--tasks",
                    ",".join(TASKS), "--methods", ",".join(METHODS), "--limit", str(limit), "--bos",
                    "--threads", "2", "--output", output, "--quiet"], check=True,
                   stdout=subprocess.DEVNULL)
    return json.loads((output / "results.json").read_text())


def figures(results):
    rows = [{k: v for k, v in row.items() if k not in OWN} for row in results["rows"]]
    return {**results, "rows": rows}


def journal_keys(output):
    keys = []
    for path in output.glob("journal*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines(keepends=True)
                 if line.endswith("\n")]
        keys += [(e["task"], e["method"], e["item"]) for e in lines[1:]]
    return keys


@pytest.fixture(scope="module")
def one_process(model_path, tmp_path_factory):
    return run_program(model_path, tmp_path_factory.mktemp("one"))


def arguments(output, **changed):
    return dict(tasks=TASKS, methods=METHODS, data=ROOT / "data", limit=LIMIT, bos=True,
                output=output) | changed


def test_evaluate_is_pith_eval(model, one_process, tmp_path):
    results = pith.evaluate(model, **arguments(tmp_path))
    assert figures(results) == figures(one_process)
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert (tmp_path / "results.csv").exists()


def test_it_goes_on_where_the_program_stopped(model, model_path, one_process, tmp_path):
    run_program(model_path, tmp_path, limit=LIMIT // 2)
    before = (tmp_path / "journal.jsonl").read_bytes()
    results = pith.evaluate(model, **arguments(tmp_path))
    assert figures(results) == figures(one_process)
    assert (tmp_path / "journal.jsonl").read_bytes().startswith(before)
    assert len(journal_keys(tmp_path)) == len(set(journal_keys(tmp_path)))
    fresh = pith.evaluate(model, **arguments(tmp_path, limit=2), fresh=True)
    assert fresh["limit"] == 2
    assert len(journal_keys(tmp_path)) == 2 * len(TASKS) * len(METHODS)


def test_parts_of_several_processes(model, one_process, tmp_path):
    parts = [pith.Evaluation(model, **arguments(tmp_path)) for _ in range(3)]
    with pytest.raises(pith.InvalidArgumentError, match="open"):
        parts[0].read()
    for rank, part in enumerate(parts):
        part.open(rank)
    for part in parts:
        part.read()
        assert part.scored == 0
    for part in parts:
        part.score(len(parts))
        assert part.scored == LIMIT * len(TASKS) * len(METHODS) // 3
    parts[0].read()
    assert figures(parts[0].results()) == figures(one_process)
    with pytest.raises(pith.IoError, match="another run"):
        pith.Evaluation(model, **arguments(tmp_path)).open()


@pytest.mark.parametrize("wrong, words", [
    (dict(tasks=["piqua"]), "piqa"),
    (dict(tasks="piqa"), "expected a list"),
    (dict(methods=["skmi"]), "skim"),
    (dict(limit=-1), "limit: got -1"),
    (dict(scoring="published"), "scoring"),
])
def test_what_cannot_be_is_found_first(model, tmp_path, wrong, words):
    with pytest.raises(pith.InvalidArgumentError, match=words):
        pith.evaluate(model, **arguments(tmp_path, **wrong))
    assert not (tmp_path / "journal.jsonl").exists()


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="ray is not installed")
    ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False,
             object_store_memory=100 << 20)
    yield ray
    ray.shutdown()


def on_ray(cluster, model_path, output, **changed):
    import pith.ray
    return pith.ray.evaluate(model_path, **arguments(output, **changed), workers=2)


def holder(path):
    """The process that has this file open, other than this one."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if link.readlink() == path and link.parts[2] != str(os.getpid()):
                return int(link.parts[2])
        except OSError:
            continue  # it ended, or is another user's
    return None


def once_a_worker_has_scored(output, act):
    """A thread that calls act(pid of worker 1) once that worker has written items."""
    journal = output / "journal.1.jsonl"

    def watch():
        until = time.monotonic() + 120
        while time.monotonic() < until:
            if journal.exists() and journal.read_bytes().count(b"\n") > 1:
                return act(holder(journal))
            time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_two_workers_are_one_process(cluster, model_path, one_process, tmp_path):
    assert figures(on_ray(cluster, model_path, tmp_path)) == figures(one_process)
    assert (tmp_path / "journal.1.jsonl").exists()
    keys = journal_keys(tmp_path)
    assert len(keys) == len(set(keys)) == LIMIT * len(TASKS) * len(METHODS)


def test_a_killed_worker_and_ctrl_c_lose_nothing(cluster, model_path, one_process, tmp_path):
    import pith.ray
    longer = 60
    thread = once_a_worker_has_scored(tmp_path, lambda pid: os.kill(pid, signal.SIGKILL))
    with pytest.raises(pith.ray.WorkerLostError, match="goes on"):
        on_ray(cluster, model_path, tmp_path, limit=longer)
    thread.join()
    after_kill = journal_keys(tmp_path)
    assert 0 < len(after_kill) < longer * len(TASKS) * len(METHODS)

    # Then Ctrl-C, on the caller's side.
    size = (tmp_path / "journal.1.jsonl").stat().st_size

    def interrupt():
        until = time.monotonic() + 120
        while time.monotonic() < until:
            if (tmp_path / "journal.1.jsonl").stat().st_size > size:
                return os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.005)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        on_ray(cluster, model_path, tmp_path, limit=longer)
    thread.join()
    after_interrupt = journal_keys(tmp_path)
    assert len(after_kill) < len(after_interrupt) < longer * len(TASKS) * len(METHODS)

    # At once, and by another number of processes: the program goes on from Ray's journals.
    results = run_program(model_path, tmp_path, limit=longer)
    keys = journal_keys(tmp_path)
    assert len(keys) == len(set(keys)) == longer * len(TASKS) * len(METHODS)
    assert set(after_interrupt) <= set(keys)
    alone = run_program(model_path, tmp_path / "alone", limit=longer)
    assert figures(results) == figures(alone)


@pytest.mark.parametrize("wrong, words", [
    (dict(tasks=["piqua"]), "piqa"),
    (dict(threads=2), "room for 1"),
    (dict(threads=0), "threads: got 0"),
    (dict(model_options={"device": "cuda"}), "a GPU each, the cluster has room for 0"),
    (dict(model_options={"device": "cuda:1"}), "expected cuda"),
])
def test_what_ray_cannot_do_is_named(cluster, model_path, tmp_path, wrong, words):
    with pytest.raises(pith.InvalidArgumentError, match=words):
        on_ray(cluster, model_path, tmp_path, **wrong)
