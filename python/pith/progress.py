"""A bar on a terminal, as the program draws it."""

from __future__ import annotations

import os
import sys
import time

PATIENCE = 2.0  # seconds of work before a bar appears
WIDTH = 30


class ProgressBar:
    """The share of some work that is done, in the last line of standard error while a ``with``
    block runs: only where that is a terminal, and only once the work has lasted PATIENCE."""

    def __init__(self, label: str, enabled: bool = True) -> None:
        self._label = label
        self._stream = sys.stderr  # None where there is none
        self._enabled = (enabled and self._stream is not None and self._stream.isatty()
                         and os.environ.get("TERM") != "dumb")
        self._shown = False
        self._start = time.monotonic()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._shown:
            self._draw("")

    def show(self, share: float) -> None:
        spent = time.monotonic() - self._start
        if not self._enabled or spent < PATIENCE:
            return
        share = min(max(share, 0.0), 1.0)
        full = int(share * WIDTH)
        left = f", {_clock(spent * (1 - share) / share)} left" if share > 0 else ""
        self._shown = True
        self._draw(f"{self._label} [{'#' * full}{'.' * (WIDTH - full)}] {int(share * 100)} %{left}")

    def _draw(self, line: str) -> None:
        try:
            self._stream.write(f"\r{line}\033[K")
            self._stream.flush()
        except (OSError, ValueError):  # the terminal is gone or closed; the work goes on
            self._enabled = self._shown = False


def _clock(seconds: float) -> str:
    """1:02:03 or 2:03"""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"
