"""What machine the figures are from."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path


def _first(path: str, pattern: str) -> str | None:
    """The first group of `pattern` in a file of the kernel, where there is one."""
    try:
        match = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    except OSError:
        return None
    return match.group(1).strip() if match else None


def _commit() -> str | None:
    """The commit that is measured, with `-dirty` where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        process = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:
        return None
    return process.stdout.strip() or None


def describe() -> dict[str, object]:
    """Processor, cores, memory, system, load and versions."""
    memory = _first("/proc/meminfo", r"^MemTotal:\s+(\d+) kB")
    flags = (_first("/proc/cpuinfo", r"^flags\s*:(.*)$") or "").split()
    return {
        "processor": _first("/proc/cpuinfo", r"^model name\s*:(.*)$") or platform.processor() or platform.machine(),
        "extensions": [flag for flag in ("avx2", "avx512_vnni", "avx512_bf16", "amx_tile") if flag in flags],
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory) / 2**20) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "diarist": version("diarist"),
        "commit": _commit(),
    }
