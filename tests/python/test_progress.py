"""The bar of pith.evaluate: on a terminal alone, late alone, and gone when the work is done."""

import io
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import pith
from pith import progress

ROOT = Path(__file__).parents[2]
CLEARED = "\r\033[K"


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.delenv("TERM", raising=False)
    return clock


def stand_in(monkeypatch, stream):
    """For standard error; sys.stderr itself is pytest's, which sets it anew for each phase."""
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stream))


@pytest.fixture
def terminal(monkeypatch):
    terminal = Terminal()
    stand_in(monkeypatch, terminal)
    return terminal


def test_it_waits_and_tells_the_time_left(clock, terminal):
    with progress.ProgressBar("reading") as bar:
        clock.now += 1.75
        bar.show(0.5)
        assert terminal.getvalue() == ""
        clock.now += 0.25
        bar.show(0)
        assert terminal.getvalue() == f"\rreading [{'.' * 30}] 0 %\033[K"
        clock.now += 98  # 100 s for a quarter: 300 are left
        bar.show(0.25)
        assert terminal.getvalue().endswith(f"\rreading [{'#' * 7}{'.' * 23}] 25 %, 5:00 left\033[K")
        clock.now += 900
        bar.show(0.1)
        assert terminal.getvalue().endswith(" 10 %, 2:30:00 left\033[K")
        bar.show(1 + 1e-9)
        assert terminal.getvalue().endswith(f"\rreading [{'#' * 30}] 100 %, 0:00 left\033[K")
    assert terminal.getvalue().endswith("left\033[K" + CLEARED)


def test_short_work_leaves_no_trace(clock, terminal):
    with progress.ProgressBar("reading") as bar:
        bar.show(0.9)
    assert terminal.getvalue() == ""


def test_it_goes_when_the_work_fails(clock, terminal):
    with pytest.raises(ValueError), progress.ProgressBar("reading") as bar:
        clock.now += 3
        bar.show(0.9)
        raise ValueError
    assert terminal.getvalue().endswith(CLEARED)


@pytest.mark.parametrize("stream, term, enabled", [
    (Terminal(), "xterm", False), (Terminal(), "dumb", True), (io.StringIO(), "xterm", True),
    (None, "xterm", True),
])
def test_where_it_stays_away(clock, monkeypatch, stream, term, enabled):
    stand_in(monkeypatch, stream)
    monkeypatch.setenv("TERM", term)
    with progress.ProgressBar("reading", enabled) as bar:
        clock.now += 3
        bar.show(0.5)
    assert stream is None or stream.getvalue() == ""


def test_a_terminal_that_is_gone_stops_nothing(clock, terminal):
    def gone(text):
        raise OSError(5, "Input/output error")

    with progress.ProgressBar("reading") as bar:
        clock.now += 3
        bar.show(0.1)
        terminal.write = gone
        bar.show(0.5)
        bar.show(0.6)


def arguments(output):
    return dict(tasks=["piqa"], methods=["none", "skim"], data=ROOT / "data", limit=24, bos=True,
                output=output)


# These need 50 ms of work, after which Run (python/src/run.h) looks up for the first time.
def test_evaluate_draws_one(model, terminal, monkeypatch, tmp_path):
    monkeypatch.setattr(progress, "PATIENCE", 0)
    monkeypatch.delenv("TERM", raising=False)
    pith.evaluate(model, **arguments(tmp_path / "bar"))
    drawn = terminal.getvalue()
    assert re.match(r"\revaluating \[#*\.*\] \d+ %", drawn)
    assert drawn.endswith(CLEARED)
    shares = [int(share) for share in re.findall(r"(\d+) %", drawn)]
    assert shares == sorted(shares)

    terminal.truncate(0)
    pith.evaluate(model, **arguments(tmp_path / "none"), progress=False)
    assert terminal.getvalue() == ""


def test_what_it_raises_stops_the_work(model, tmp_path):
    evaluation = pith.Evaluation(model, **arguments(tmp_path))
    evaluation.open()
    evaluation.read()

    def fail(share):
        assert 0 <= share <= 1
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        evaluation.results(progress=fail)
    assert not (tmp_path / "results.json").exists()
    told = []
    results = evaluation.results(progress=told.append)
    assert [row["items"] for row in results["rows"]] == [24, 24]
    assert all(0 <= share <= 1 for share in told)
