"""A process of its own for each command, with a cache and a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1] / "toy_house.py"


class Shell:
    """Runs `diarist` (with toy voices, or as it is) in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("DIARIST_", "COVERAGE", "PYTEST"))}
        self.env.update(DIARIST_CACHE=str(folder / "cache"), PYTHONWARNINGS="error")

    def toy(self, *words: object) -> list[str]:
        return [sys.executable, str(HOUSE), *map(str, words)]

    def real(self, *words: object) -> list[str]:
        return [sys.executable, "-m", "diarist.cli.main", *map(str, words)]

    def run(self, command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        options = {"timeout": 300, "text": True, "capture_output": True, "env": self.env, **options}
        return subprocess.run(command, cwd=self.folder, **options)  # type: ignore[call-overload, no-any-return]

    def start(self, command: list[str], **options: object) -> subprocess.Popen[bytes]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": self.env, **options}
        return subprocess.Popen(command, cwd=self.folder, **options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def sample() -> tuple[Path, Path]:
    """The 30 s sample conversation and its reference turns, fetched like the weights: `(wav, rttm)`."""
    from diarist.models.fetch import fetch

    return fetch("sample-wav"), fetch("sample-rttm")
