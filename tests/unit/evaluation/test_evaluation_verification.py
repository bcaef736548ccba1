"""Trials and their error rates."""

import numpy as np
import pytest
import soundfile

from diarist.core.types import Diarization, Speaker, Turn
from diarist.errors import FormatError, UsageError
from diarist.evaluation.verification import Heard, equal_error_rate, halves, hear, log_loss, pairs, voices_of
from toy_house import conversation, diarizer, talk, write_wav


def test_equal_error_rate():
    assert equal_error_rate(np.array([3.0, 4.0]), np.array([1.0, 2.0]))[0] == 0.0
    assert equal_error_rate(np.array([1.0, 2.0]), np.array([3.0, 4.0]))[0] == 1.0
    rng = np.random.default_rng(0)
    rate, threshold = equal_error_rate(rng.normal(2, 1, 20_000), rng.normal(0, 1, 50_000))
    assert rate == pytest.approx(0.1587, abs=0.005) and threshold == pytest.approx(1.0, abs=0.05)
    with pytest.raises(UsageError):
        equal_error_rate(np.zeros(0), np.ones(3))


def test_log_loss():
    assert log_loss(np.zeros(3), np.zeros(4)) == pytest.approx(1.0)
    assert log_loss(np.full(3, 50.0), np.full(4, -50.0)) == pytest.approx(0.0, abs=1e-9)
    assert log_loss(np.array([-10.0]), np.array([10.0])) > 10


def test_whose_voice_it_is():
    reference = Diarization((Turn(0, 10, "A"), Turn(10, 20, "B")))
    speakers = {"x": Speaker("x", np.ones(3, np.float32)), "y": Speaker("y")}
    answer = Diarization((Turn(2, 12, "x"), Turn(12, 20, "y"), Turn(30, 31, "x")), speakers=speakers)
    ((_, seconds, recording, person, purity),) = voices_of(answer, reference, "r")
    assert (seconds, recording, person, purity) == (11, "r", "A", 0.8)


def test_hearing_recordings(tmp_path):
    turns = talk(12, 2)
    write_wav(tmp_path / "one.wav", conversation(turns))
    (tmp_path / "one.rttm").write_text(Diarization(tuple(turns), "one").to_rttm())
    seen = []
    found = hear([tmp_path / "one.wav"], diarizer(), seen.append)
    assert sorted(found.person) == ["S0", "S1"] and (found.purity > 0.9).all() and seen == [1]
    found.save(tmp_path / "v.npz")
    again = Heard.load(tmp_path / "v.npz")
    np.testing.assert_array_equal(again.embeddings, found.embeddings)
    assert pairs(found, again).sum() == 2 and len(again.select(again.person == "S1")) == 1
    with pytest.raises(FormatError):
        Heard.load(tmp_path / "one.wav")
    with pytest.raises(UsageError, match="no voices"):
        hear([], diarizer())


def test_no_person_counts_more_than_others():
    heard = Heard(
        np.eye(5, dtype="f4"), np.array([1.0, 9, 5, 2, 3]), *np.array([list("vwxyz"), list("AAAAB")]), np.ones(5)
    )
    assert heard.capped(2).seconds.tolist() == [1, 9, 3] and len(heard.capped(9)) == 5


def test_halves_share_no_sound(tmp_path):
    rng = np.random.default_rng(0)
    for name, number in (("many", 5), ("one", 1)):
        (tmp_path / "speech" / name).mkdir(parents=True)
        for index in range(number):
            samples = (0.1 * rng.standard_normal(16_000 + index)).astype(np.float32)
            write_wav(tmp_path / "speech" / name / f"{index}.wav", samples)
    halves(tmp_path / "speech", tmp_path / "cut")
    names = {half: sorted(p.name for p in (tmp_path / "cut" / half / "many").iterdir()) for half in "ab"}
    assert names == {"a": ["0.wav", "1.wav"], "b": ["2.wav", "3.wav", "4.wav"]}
    whole, _ = soundfile.read(tmp_path / "speech" / "one" / "0.wav")
    parts = [soundfile.read(tmp_path / "cut" / half / "one" / "0.flac")[0] for half in "ab"]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-4)
