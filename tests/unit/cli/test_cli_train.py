from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from diarist.cli import train as train_command
from diarist.cli.main import main
from diarist.core.config import from_dict, read_file
from diarist.pix2seq.config import Config

NAMES = ["frames", "medium_mel", "simple_no_ints_mel", "simple_no_ints_dac_codes", "simple_no_ints_z"]


def voices(folder: Path) -> None:
    """Eight speakers, each a tone in bursts."""
    for k in range(8):
        time = np.arange(6 * 16_000) / 16_000
        sound = 0.3 * np.sin(2 * np.pi * 200 * (k + 1) * time) * (np.sin(2 * np.pi * 0.4 * time) > -0.6)
        (folder / f"v{k}").mkdir(parents=True)
        soundfile.write(folder / f"v{k}/a.wav", sound, 16_000)


@pytest.mark.parametrize("name", NAMES)
def test_configurations_by_name(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", name, "--show-config", "--set", "train.lr=3e-4", "--speech", "here", "--keep", "7"]) == 0
    (tmp_path / "said.toml").write_text(capsys.readouterr().out)
    config = from_dict(Config, read_file(tmp_path / "said.toml"))
    assert (config.train.lr, config.train.keep, config.data.speech) == (3e-4, 7, ("here",))
    assert main(["train", f"configs/{name}.yaml", "--show-config"]) == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["medium_mell"], "did you mean 'medium_mel'"),
        (["frames", "--set", "train.stepz=3"], "unknown key 'train.stepz'; did you mean 'steps'"),
        (["frames", "--set", "train.lr"], "KEY=VALUE"),
        (["frames", "--set", "train.lr=fast"], "'train.lr' must be of type float"),
    ],
)
def test_what_cannot_be(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_typo_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.toml").write_text("[data]\nsilense = [1.0]\n")
    assert main(["train", str(tmp_path / "mine.toml")]) == 2
    assert "did you mean 'silence'" in capsys.readouterr().err


def test_a_dev_run_goes_through_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    voices(tmp_path / "s")
    sizes = ["model.max_seconds=6", "data.conversation=[12,12]", "train.steps=2", "train.warmup=1", "train.log_every=1"]
    judged = [
        "train.evaluate_every=2",
        "train.judged=1",
        "train.batch=2",
        'train.judged_fold="0/1"',
        "data.min_seconds=3",
    ]
    changes = [word for change in (*sizes, *judged) for word in ("--set", change)]
    command = ["train", "simple_no_ints_mel", "--dev", "--speech", str(tmp_path / "s"), "--output", str(tmp_path / "o")]
    few = ["--set", "data.speakers=[2,2]", "--set", "train.tensorboard=false"]
    assert main([*command, *few, *changes, "--prepare", "1"]) == 0
    assert main([*command, *few, *changes]) == 0
    said = capsys.readouterr()
    assert "update 2: DER simulated-2 " in said.err and said.out.strip().endswith("step_00000002.pt")
    made = {path.name for path in (tmp_path / "o").iterdir()}
    assert {"config.toml", "log.jsonl", "model.safetensors", "step_00000002.pt", "cache"} <= made
    assert main([*command, *few, *changes]) == 2
    assert "--resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["--resume"], "holds no checkpoint", 2),
        (["--noise", "nowhere"], "'nowhere' is not a folder of noise", 1),
        (["--rttm", "nowhere"], "'nowhere' holds no recording", 1),
        (["--judge-rttm", "nowhere"], "'nowhere' holds no recording", 1),
        (["--from", "nowhere"], "'nowhere'", 3),
    ],
)
def test_what_is_missing_is_told_before_anything_is_made(
    arguments: list[str], told: str, code: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    voices(tmp_path / "s")
    command = ["train", "simple_no_ints_mel", "--dev", "--speech", str(tmp_path / "s"), "--output", str(tmp_path / "o")]
    assert main([*command, *arguments]) == code
    said = capsys.readouterr().err
    assert told in said and "are made" not in said
    assert not (tmp_path / "o").exists()


def test_few_held_out_speakers_are_judged_by_what_they_can_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    voices(tmp_path / "s")
    command = ["train", "simple_no_ints_mel", "--dev", "--speech", str(tmp_path / "s"), "--output", str(tmp_path / "o")]
    judges = []
    monkeypatch.setattr("diarist.pix2seq.train.train", lambda *given, judge, **more: judges.append(judge))
    monkeypatch.setattr(train_command, "_draw", lambda output: None)
    for held in (2, 1, 0):
        monkeypatch.setattr("diarist.pix2seq.data.speakers_of", lambda config, held=held: [None] * held)
        assert main([*command, "--set", "train.judged_fold=0/4"]) == 0
    assert [judge is None for judge in judges] == [False, True, True]
    assert (
        capsys.readouterr()
        .err.splitlines()[0]
        .endswith("only 2 speakers are held out (0/4): none are judged for simulated-3-4")
    )


def test_processes_share_out_the_conversations_to_prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    voices(tmp_path / "s")
    few = ["--set", "data.speakers=[2,2]", "--set", "data.conversation=[12,12]", "--set", "data.prompted=0"]
    command = ["train", "simple_no_ints_mel", "--speech", str(tmp_path / "s"), "--output", str(tmp_path / "o"), *few]
    made = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert main([*command, "--prepare", "5"]) == 0
        made.append(sorted(int(path.stem.rpartition("-")[2]) for path in (tmp_path / "o/cache").rglob("*.npz")))
    assert made == [[0, 2, 4], [0, 1, 2, 3, 4]]
