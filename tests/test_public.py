"""The door: what `import diarist` costs, what it offers, and that every room opens without extras."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import diarist

ENGINES = ("numpy", "scipy", "onnxruntime", "av", "soundfile", "soxr")
EXTRAS = (
    *("torch", "mlx", "onnx", "openvino", "huggingface_hub", "pyannote", "pandas", "matplotlib", "optuna", "rich"),
    *("sounddevice", "reactivex", "fastapi", "uvicorn", "websockets", "prometheus_client", "meeteval", "kaldialign"),
    *("faster_whisper", "whisperx", "nemo", "transformers", "safetensors", "tensorboard", "wandb", "yaml"),
)
NETWORKS = ("diarist.models.nets.torch.", "diarist.models.nets.mlx.", "diarist.models.nets.openvino.")
PIX2SEQ = tuple(f"diarist.pix2seq.{name}" for name in ("batches", "generate", "losses", "model", "train"))
OF_ENGINES = NETWORKS + PIX2SEQ  # opened where their engine is
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(diarist.__path__, "diarist.", onerror=lambda name: None)
    if not info.name.endswith("__main__")  # runs the command line when it is imported
    and not info.name.startswith(OF_ENGINES)
)


def python(code):
    """What a fresh interpreter prints, as JSON."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_door_loads_no_engine():
    code = f"import sys, json, diarist; print(json.dumps([m for m in {ENGINES + EXTRAS} if m in sys.modules]))"
    assert python(code) == []


@pytest.mark.parametrize("words", [["--version"], ["models", "list"], ["run", "--help"]])
def test_commands_that_hear_nothing_load_no_engine(words, tmp_path, monkeypatch):
    monkeypatch.setenv("DIARIST_CACHE", str(tmp_path))
    code = (
        "import sys, json, io, contextlib; from diarist.cli.main import main\n"
        f"with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main({words})\n"
        f"print(json.dumps([m for m in {ENGINES[1:] + EXTRAS} if m in sys.modules]))"
    )
    assert python(code) == []


def test_all_is_complete_and_every_name_opens():
    assert sorted(diarist.__all__) == sorted([*diarist._DOORS, "__version__"])
    assert dir(diarist) == list(diarist.__all__)
    for name in diarist._DOORS:
        assert getattr(diarist, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Diariser'"):
        diarist.Diariser  # noqa: B018


def test_the_door_says_to_type_checkers_what_it_gives():
    """The imports under TYPE_CHECKING are the doors, from the same places."""
    text = Path(diarist.__file__).read_text(encoding="utf-8")
    said = {
        (name.strip(), line.split()[1])
        for line in text.splitlines()
        if line.startswith("    from diarist.")
        for name in line.split(" import ")[1].split(",")
    }
    assert said == set(diarist._DOORS.items())


def test_it_is_typed():
    assert (Path(diarist.__file__).parent / "py.typed").exists()


def test_every_module_opens_without_extras():
    """In one interpreter in which the extras cannot be imported."""
    code = (
        "import sys, json, importlib\n"
        "class NotInstalled:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {EXTRAS}: raise ImportError(name)\n"
        "sys.meta_path.insert(0, NotInstalled())\n"
        f"for name in {MODULES}: importlib.import_module(name)\n"
        f"print(json.dumps(len({MODULES})))"
    )
    assert python(code) == len(MODULES) > 40
