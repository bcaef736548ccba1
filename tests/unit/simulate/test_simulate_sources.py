import numpy as np
import pytest
import soundfile

from diarist.core.types import Waveform
from diarist.errors import InputError, UsageError
from diarist.simulate.sources import Speech, find_noise, find_speakers, in_fold, pool_fingerprint


@pytest.fixture
def tree(tmp_path):
    for name in (
        "vctk/p1/a.wav",
        "vctk/p1/b.flac",
        "libri/19/198/x.flac",
        "flat/p7_01.wav",
        "flat/p7_02.wav",
        "flat/p8_01.wav",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(100), 16_000)
    (tmp_path / "vctk" / "p1" / "notes.txt").write_text("not audio")
    (tmp_path / "vctk" / "p1" / ".hidden.wav").write_text("")
    return tmp_path


def test_folders_are_speakers(tree):
    found = {s.speaker: len(s.utterances) for s in find_speakers([tree / "vctk", tree / "libri"])}
    assert found == {"p1": 2, "19-198": 1}
    assert [s.speaker for s in find_speakers([tree])] == ["flat", "libri-19-198", "vctk-p1"]


def test_files_directly_in_a_folder_are_speakers_of_their_own(tree):
    assert [s.speaker for s in find_speakers([tree / "flat"])] == ["p7_01", "p7_02", "p8_01"]


def test_a_pattern_takes_the_speaker_from_the_path(tree):
    found = {s.speaker: len(s.utterances) for s in find_speakers([tree / "flat"], r"(p\d+)_")}
    assert found == {"p7": 2, "p8": 1}
    assert [s.speaker for s in find_speakers([tree / "libri"], r"^\d+")] == ["19"]


def test_what_cannot_be_found(tree, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="nowhere' is not a folder of speech"):
        find_speakers([tree / "nowhere"])
    with pytest.raises(InputError, match="empty' holds no audio"):
        find_speakers([tmp_path / "empty"])
    with pytest.raises(InputError, match=r"no file under .* matches the pattern"):
        find_speakers([tree / "flat"], "q(.)")
    with pytest.raises(UsageError, match="is not a regular expression"):
        find_speakers([tree], "(")
    with pytest.raises(InputError, match="folder of noise"):
        find_noise([tree / "nowhere"])


def test_folds_part_the_speakers():
    names = [f"speaker{i}" for i in range(400)]
    parts = [[n for n in names if in_fold(n, k, 4)] for k in range(4)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert min(map(len, parts)) > 60
    assert in_fold("speaker0", 0, 1)


def test_the_fingerprint_of_a_pool_changes_with_it(tree):
    speakers, noise = find_speakers([tree]), find_noise([tree / "flat"])
    one = pool_fingerprint(speakers, noise)
    assert one == pool_fingerprint(find_speakers([tree]), noise)
    assert one != pool_fingerprint(speakers[1:], noise) and one != pool_fingerprint(speakers, noise[1:])
    made = Speech("x", (Waveform(np.zeros(1, np.float32), uri="u"),))
    assert pool_fingerprint([made], []) != pool_fingerprint([], [])
