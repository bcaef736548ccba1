"""Tuning an end-to-end engine: one listening, many decodings."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from diarist.core.time import Axis
from diarist.errors import InputError, UsageError
from diarist.evaluation.dataset import Item
from diarist.evaluation.tune import judge_of, plan, tune
from diarist.evaluation.tune_endtoend import EndToEndJudge, read, write
from diarist.evaluation.tune_space import parameters
from diarist.models.toy import ToyEmbedding, ToyEndToEnd
from diarist.pipelines.endtoend import EndToEndDiarizer
from diarist.pipelines.endtoend_listen import Heard, Memory
from diarist.pipelines.endtoend_presets import NEMOTRON, SORTFORMER
from toy_house import recording, write_wav


class Counting(ToyEndToEnd):
    """One that says how often it was begun."""

    begun = 0

    def start(self):
        Counting.begun += 1
        return super().start()


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("data"), []
    for seed in range(3):
        samples, reference = recording(10, 2, seed)
        path = write_wav(folder / f"talk{seed}.wav", samples)
        found.append(Item(path.stem, path, path.name, dataclasses.replace(reference, uri=path.stem)))
    return found


def planned(items, output, base, names=("onset", "pad_offset"), **options):
    Counting.begun = 0
    models = (Counting(), ToyEmbedding())
    return plan(
        items,
        output,
        base,
        names,
        end_to_end=models,
        **{"num_trials": 8, "num_folds": 0, "preset": "offline", **options},
    )


def test_what_is_tuned_by_default():
    names = [p.name for p in parameters(NEMOTRON.resolve())[0]]
    assert names == [
        f"turns.{n}"
        for n in ("onset", "offset", "pad_onset", "pad_offset", "min_duration_on", "min_duration_off", "least_talk")
    ]
    windows = NEMOTRON.resolve(None, None, {"network.window": 600.0})
    assert parameters(windows)[0][0].name == "embedding.join"
    with pytest.raises(UsageError, match="listening to everything again"):
        parameters(NEMOTRON.resolve(), None, {"network.latency": "0.3:30"})


def test_judges_say_what_a_run_says(items, tmp_path):
    base = NEMOTRON.resolve(None, None, {"turns.onset": 0.3, "turns.min_duration_off": 0.4})
    judge = judge_of(planned(items, tmp_path, base))
    assert isinstance(judge, EndToEndJudge)
    for index, item in enumerate(items):
        wanted = EndToEndDiarizer(config=base, model=ToyEndToEnd(), embedding=ToyEmbedding())(item.audio)
        assert judge.answer(base, index).turns == wanted.turns


def test_hears_once_and_finds_better(items, tmp_path):
    """Turns that end half a second late at the start end in time after tuning."""
    pytest.importorskip("optuna")
    base = NEMOTRON.resolve(None, None, {"turns.pad_offset": 0.3})
    wanted = planned(items, tmp_path, base, num_trials=15, num_folds=2)
    report = tune(wanted)
    assert Counting.begun == len(items)
    assert report.best.turns.pad_offset < 0.15
    kept = json.loads((tmp_path / "report.json").read_text())
    assert kept["num_trials"] == 15 and len(kept["folds"]) == 2
    preset = tmp_path / "preset.toml"
    assert NEMOTRON.resolve(None, preset) == report.best
    tune(dataclasses.replace(wanted))
    assert Counting.begun == len(items)


def test_preset_of_sortformer(items, tmp_path):
    pytest.importorskip("optuna")
    base = SORTFORMER.resolve("callhome")
    report = tune(planned(items, tmp_path, base, ["onset"], preset="callhome", num_trials=2))
    assert 'preset = "callhome"' in (tmp_path / "preset.toml").read_text()
    assert SORTFORMER.resolve(None, tmp_path / "preset.toml") == report.best


def test_what_was_heard_is_kept_as_it_was(tmp_path):
    rng = np.random.default_rng(0)
    memories = tuple(
        Memory(
            first,
            rng.random((20, 3)).astype(np.float16),
            rng.random((4, 3)).astype(np.float16),
            rng.random((3, 5)),
            rng.random(3),
        )
        for first in (0, 20)
    )
    heard = Heard(memories, Axis(960, 320, -320), 12_345)
    write(heard, tmp_path / "x.npz")
    again = read(tmp_path / "x.npz")
    assert (again.frames, again.num_samples) == (heard.frames, heard.num_samples)
    for one, other in zip(heard.memories, again.memories, strict=True):
        assert one.first == other.first
        for name in ("scores", "before", "voices", "seconds"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
            assert getattr(one, name).dtype == getattr(other, name).dtype
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:200])
    with pytest.raises(InputError, match="damaged: delete it"):
        read(tmp_path / "x.npz")
