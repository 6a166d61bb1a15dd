"""docs/python.md as a reader would run it, from top to bottom."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    for name in ("models", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    assert (tmp_path / "report.state").exists()
    assert "_" in capsys.readouterr().out
