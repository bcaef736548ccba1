"""Archives of NeMo's, good and bad, without NeMo: what is refused before NeMo sees it."""

from __future__ import annotations

import io
import os
import pickle
import tarfile

import numpy as np
import pytest

from diarist.errors import WeightsError
from diarist.models.nemo_file import opened

torch = pytest.importorskip("torch")
yaml = pytest.importorskip("yaml")

CONFIG = {
    "target": "nemo.collections.asr.models.label_models.EncDecSpeakerLabelModel",
    "preprocessor": {
        "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
        "sample_rate": 16000,
    },
    "optim": {"sched": [{"_target_": "torch.optim.SGD"}]},
}


def checkpoint(value=None):
    file = io.BytesIO()
    torch.save({"weight": torch.arange(6.0).reshape(2, 3)} if value is None else value, file)
    return file.getvalue()


def written(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, value in members.items():
            if isinstance(value, tarfile.TarInfo):
                archive.addfile(value)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(value)
            archive.addfile(member, io.BytesIO(value))
    return path


def members(config=None, weights=None, **more):
    text = yaml.safe_dump(CONFIG if config is None else config).encode() if not isinstance(config, bytes) else config
    return {"./model_config.yaml": text, "./model_weights.ckpt": checkpoint() if weights is None else weights, **more}


def refused(path, match):
    with pytest.raises(WeightsError, match=match) as caught, opened(path):
        raise AssertionError("it was opened")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_config_and_tensors(tmp_path, mode):
    path = written(tmp_path / "a.nemo", members(**{"./labels.txt": b"a\nb\n"}), mode)
    with opened(path) as archive:
        assert archive.kind == "EncDecSpeakerLabelModel"
        assert archive.part("preprocessor", "sample_rate") == 16000
        assert archive.part("preprocessor", "nothing", "more") is None
        np.testing.assert_array_equal(archive.tensors["weight"], np.arange(6.0).reshape(2, 3))
        assert (archive.folder / "labels.txt").read_text() == "a\nb\n"
        folder = archive.folder
    assert not folder.exists()


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "..\\evil", "C:evil"])
def test_members_outside_are_refused(tmp_path, name):
    refused(written(tmp_path / "a.nemo", members(**{name: b"x"})), "lies outside of the archive")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    link = tarfile.TarInfo("./link")
    link.type, link.linkname = kind, "/etc/passwd"
    refused(written(tmp_path / "a.nemo", members(**{"link": link})), "is a link or a device")


class Runs:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def test_a_checkpoint_that_runs_code_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(written(tmp_path / "a.nemo", members(weights=checkpoint({"a": Runs()}))), "mkdir', which is refused")
    refused(written(tmp_path / "b.nemo", members(weights=pickle.dumps(Runs()))), "no checkpoint of PyTorch 1.6")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "target", ["os.system", "torch.nn.Linear", "builtins.eval", "subprocess.Popen", "${x}", "nemo"]
)
@pytest.mark.parametrize("key", ["_target_", "cls", "target"])
def test_classes_that_are_not_nemos_are_refused(tmp_path, target, key):
    config = {**CONFIG, "decoder": {"layers": [{"inner": {key: target, "args": ["echo"]}}]}}
    refused(written(tmp_path / "a.nemo", members(config)), "which is no class of NeMo's")


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (b"a: !!python/object/apply:os.system ['touch ran']", "is not plain YAML"),
        (b"a: [1, 2", "is not plain YAML"),
        (b"\xff\xfe\x00", "is not plain YAML"),
        (b"- 1\n- 2", "describes no model"),
        (b"", "describes no model"),
    ],
)
def test_configurations_that_are_none(tmp_path, config, match):
    refused(written(tmp_path / "a.nemo", members(config)), match)


def test_files_that_are_no_archives(tmp_path):
    refused(tmp_path / "none.nemo", "there is no model")
    for name, content in (("empty", b""), ("text", b"hello" * 1000), ("pickle", pickle.dumps([1]))):
        path = tmp_path / f"{name}.nemo"
        path.write_bytes(content)
        refused(path, "is no .nemo file")
    refused(tmp_path, "cannot read")
    refused(written(tmp_path / "a.nemo", {"x": b"y"}), "it holds no model_config.yaml")
    whole = written(tmp_path / "b.nemo", members()).read_bytes()
    (tmp_path / "c.nemo").write_bytes(whole[: len(whole) // 3])
    refused(tmp_path / "c.nemo", r"is no .nemo file")


def test_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("diarist.models.nemo_file.MOST_BYTES", 1000)
    refused(written(tmp_path / "a.nemo", members()), "it holds more than")


def test_weights_that_are_cut_off(tmp_path):
    refused(written(tmp_path / "a.nemo", members(weights=checkpoint()[:300])), "model_weights.ckpt")
