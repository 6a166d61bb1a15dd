"""The shipped models, unpacked by `make models`."""

from pathlib import Path

import pytest

import pith

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def model_path() -> Path:
    return ROOT / "models/pith-13m-mamba1"


@pytest.fixture(scope="session")
def model(model_path: Path) -> pith.Model:
    return pith.Model(model_path, threads=2)


@pytest.fixture(scope="session")
def text() -> str:
    return ("The old boat moved slowly down the river, and nobody on the bank looked up. " * 20).strip()
