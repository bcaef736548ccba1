"""Machines, package indexes and packages that exist for the tests only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from package_server import OFFLINE_ENV, PackageServer, toy_entry

from diarist.models import catalog
from diarist.models.catalog import Entry


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine without any setting for package indexes, with an empty home and an empty cache.

    No installer is asked, so that what a test sees is what diarist does itself.
    """
    for name in list(os.environ):
        upper = name.upper()
        if (
            upper.startswith(("PIP_", "UV_", "DIARIST_", "XDG_"))
            or upper.endswith("_PROXY")
            or upper
            in (
                "UV",
                "NETRC",
                "REQUESTS_CA_BUNDLE",
                "CURL_CA_BUNDLE",
            )
        ):
            monkeypatch.delenv(name)
    for name, value in OFFLINE_ENV.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("DIARIST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("diarist.models.fetch._installer", lambda: None)
    monkeypatch.setattr("diarist.models.transport.PAUSE", 0.001)
    return monkeypatch


@pytest.fixture
def server(machine: pytest.MonkeyPatch) -> Any:
    """A running `PackageServer` that is the machine's only index."""
    with PackageServer() as running:
        machine.setenv("PIP_INDEX_URL", running.index)
        yield running


@pytest.fixture
def toy(machine: pytest.MonkeyPatch) -> Entry:
    """The wheel's member, in the catalogue under the name `toy`."""
    entry = toy_entry()
    machine.setitem(catalog.CATALOG, "toy", entry)
    return entry


@pytest.fixture
def toy_sdist(machine: pytest.MonkeyPatch) -> Entry:
    """The sdist's member, in the catalogue under the name `toy-sdist`."""
    entry = toy_entry("toy-sdist", sdist=True)
    machine.setitem(catalog.CATALOG, "toy-sdist", entry)
    return entry
