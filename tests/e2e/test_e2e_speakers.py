"""Known voices with the real weights: enrolled from one stretch of the sample conversation, named in another."""

import pytest
import soundfile

from diarist.models.fetch import fetch

pytestmark = [pytest.mark.weights]


@pytest.fixture
def sample(shell, tmp_path):
    shell.env["DIARIST_GALLERY"] = str(tmp_path / "gallery.sqlite")
    shell.env.pop("DIARIST_CACHE")
    samples, rate = soundfile.read(fetch("sample-wav"))
    soundfile.write(tmp_path / "first.wav", samples[: 18 * rate], rate)
    soundfile.write(tmp_path / "rest.wav", samples[18 * rate :], rate)


def speakers_in(rttm):
    return list(dict.fromkeys(line.split()[7] for line in rttm.splitlines()))


def test_named_where_heard_again(shell, sample):
    done = shell.run(shell.real("run", "first.wav", "--num-speakers", "2", "--format", "json"))
    assert done.returncode == 0, done.stderr
    (shell.folder / "first.json").write_text(done.stdout)
    for name, label in (("Ann", "SPEAKER_00"), ("Bob", "SPEAKER_01")):
        done = shell.run(shell.real("speakers", "enrol", name, "--from", "first.json", "--speaker", label))
        assert done.returncode == 0 and done.stdout.startswith(f"{name}: first ({label}, "), done.stderr
    done = shell.run(shell.real("run", "rest.wav", "--num-speakers", "2", "--gallery", "--propose"))
    assert done.returncode == 0 and set(speakers_in(done.stdout)) <= {"Ann", "Bob", "SPEAKER_00", "SPEAKER_01"}
    assert {"Ann", "Bob"} & set(speakers_in(done.stdout)), done.stderr  # a few seconds each: one may stay in doubt
    assert shell.run(shell.real("speakers", "forget", "Ann", "Bob")).returncode == 0
    assert b"Ann" not in (shell.folder / "gallery.sqlite").read_bytes()
