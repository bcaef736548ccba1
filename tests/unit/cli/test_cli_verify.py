"""`diarist verify` in this process, on toy voices."""

from __future__ import annotations

import json

import numpy as np
import pytest

from diarist.cli.main import main
from diarist.models.toy import ToySegmentation
from diarist.pipelines import offline
from toy_house import furnish, recording, write_wav


class Broken(ToySegmentation):
    def __call__(self, batch):
        return np.roll(super().__call__(batch), 1, axis=-1)


@pytest.fixture(autouse=True)
def house(monkeypatch, tmp_path):
    """Toys for models, of which the backend mlx is broken."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIARIST_CACHE", str(tmp_path / "cache"))
    furnish(monkeypatch.setattr)
    monkeypatch.setattr(
        offline, "load_segmentation", lambda *_, backend, **__: Broken() if backend == "mlx" else ToySegmentation()
    )
    samples, _ = recording(8, 2)
    write_wav(tmp_path / "talk.wav", samples)


def run(capsys, *words):
    code = main(["verify", *map(str, words)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def fails(capsys, code, *words):
    found, out, err = run(capsys, *words, "--quiet")
    assert (found, out) == (code, "") and err.startswith("diarist: error: ") and err.count("\n") == 1
    return err


def test_two_backends_that_agree(capsys):
    code, out, err = run(capsys, "talk.wav", "--against", "torch")
    assert code == 0 and "float32" not in err
    assert out.splitlines()[0].split()[:4] == ["stage", "shape", "largest", "agreement"]
    assert out.endswith("all 16 stages agree\nDER between the answers: 0.00 %\n")


def test_a_broken_backend_is_named(capsys):
    code, out, _ = run(capsys, "talk.wav", "--backend", "mlx", "--against", "onnx")
    assert code == 1 and "\ndiffers first: segmentation\n" in out
    marked = [line.split()[0] for line in out.splitlines() if "DIFFERS" in line]
    assert marked == ["segmentation"]


def test_record_and_compare(capsys, tmp_path):
    code, out, _ = run(capsys, "talk.wav", "--record", "kept")
    assert code == 0 and "segmentation" in out and (tmp_path / "kept" / "run.json").is_file()
    code, out, _ = run(capsys, "talk.wav", "--against", "kept", "--json")
    told = json.loads(out)
    assert code == 0 and told["ok"] and told["der"] == 0 and told["first"] is None
    assert {"segmentation", "binarized", "count", "masks", "fbank", "embeddings"} <= {s["name"] for s in told["stages"]}
    code, out, _ = run(capsys, "kept", "--against", "kept")
    assert code == 0 and "all 15 stages agree" in out


@pytest.mark.parametrize("stage", ["binarized", "count", "dendrogram", "stitched"])
def test_a_stored_run_that_was_changed(capsys, tmp_path, stage):
    run(capsys, "talk.wav", "--record", "kept")
    path = tmp_path / "kept" / f"{stage}.npy"
    array = np.load(path)
    array.reshape(-1)[array.size // 2] = 1 - array.reshape(-1)[array.size // 2]
    np.save(path, array)
    for words in (("talk.wav", "--against", "kept"), ("talk.wav", "--against", "kept", "--backend", "torch")):
        code, out, _ = run(capsys, *words, "--json")
        assert code == 1 and json.loads(out)["first"] == stage


def test_the_stored_runs_own_configuration(capsys, tmp_path):
    run(
        capsys,
        "talk.wav",
        "--record",
        "kept",
        "--clustering-threshold",
        "0.1",
        "--num-speakers",
        "3",
        "--preset",
        "fast",
    )
    facts = json.loads((tmp_path / "kept" / "run.json").read_text())
    assert facts["config"]["clustering"]["threshold"] == 0.1 and facts["speakers"] == [3, 3]
    code, out, _ = run(capsys, "talk.wav", "--against", "kept", "--num-speakers", "3")
    assert code == 0, out
    code, out, _ = run(capsys, "talk.wav", "--against", "kept", "--num-speakers", "3", "--turns-min-duration-on", "1.0")
    assert code == 1 and "differs first: turns" in out


def test_only_the_first_minutes(capsys):
    code, out, err = run(capsys, "talk.wav", "--against", "torch", "--minutes", "0.1")
    assert code == 0 and "only the first 0.1 minutes" in err and "\nfbank             598 x 80" in out


def test_other_sound(capsys, tmp_path):
    run(capsys, "talk.wav", "--record", "kept")
    samples, _ = recording(8, 2)
    write_wav(tmp_path / "talk.wav", samples[::-1])
    code, out, _ = run(capsys, "talk.wav", "--against", "kept")
    assert code == 1 and "differs first: sound" in out


def test_another_recording(capsys, tmp_path):
    run(capsys, "talk.wav", "--record", "kept", "--embedding-rows", "chunks")
    samples, _ = recording(16, 2)
    write_wav(tmp_path / "longer.wav", samples)
    for name, message in (("longer.wav", "it is of another recording"), ("talk.wav", "do not fit")):
        assert message in fails(capsys, 1, name, "--against", "kept")
        np.save(tmp_path / "kept" / "owners.npy", np.full((3, 2), 99))


def test_dumps_of_the_cpp_port(capsys, tmp_path):
    (tmp_path / "dumps").mkdir()
    for side, count in (("cpp", "1,2"), ("py", "1,1")):
        (tmp_path / "dumps" / f"{side}_segmentations.txt").write_text("0.1,0.2")
        (tmp_path / "dumps" / f"{side}_count.txt").write_text(count)
    code, out, _ = run(capsys, "dumps")
    assert code == 1 and "differs first: count" in out


@pytest.mark.parametrize(
    "code,words,message",
    [
        (2, ["talk.wav"], "say what to compare with"),
        (2, ["talk.wav", "--against", "tensorflow"], "neither a backend"),
        (1, ["talk.wav", "--against", "."], "holds no run"),
        (1, ["nothing.wav", "--against", "torch"], "nothing.wav"),
        (2, ["."], "name the run to compare it with"),
        (2, ["talk.wav", "--against", "torch", "--minutes", "-1"], "--minutes"),
        (2, ["talk.wav", "--against", "torch", "--clustering-threshold", "7"], "between 0.0 and 2.0"),
        (2, ["talk.wav", "--against", "torch", "--num-speakers", "0"], "1 or more"),
        (2, ["talk.wav", "--record", "talk.wav"], "is a file"),
    ],
)
def test_refused_in_a_line(capsys, code, words, message):
    assert message in fails(capsys, code, *words)
