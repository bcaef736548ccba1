"""What the server needs beyond the core: the extra `serve`."""

from __future__ import annotations

import importlib

from diarist.errors import ExtraError

PACKAGES = {
    "fastapi": "fastapi",
    "uvicorn.protocols.websockets.websockets_sansio_impl": "uvicorn>=0.54",
    "websockets": "websockets",
    "prometheus_client": "prometheus-client",
}
"""Modules, and the packages that they come from."""


def require() -> None:
    """Raises `ExtraError` for the first package that is missing, or too old."""
    for module, package in PACKAGES.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ExtraError(package, "serve", "the server") from error
