"""The nemo-style engine and the WhisperX face with real weights, on the sample conversation."""

import shutil

import pytest

from diarist import formats
from diarist.evaluation.score import score
from diarist.pipelines.nemo_style import NemoStyleDiarizer

pytestmark = pytest.mark.weights


def test_from_a_manifest_to_rttm(shell, sample):
    wav, rttm = sample
    shutil.copy(wav, shell.folder / "talk.wav")
    shutil.copy(rttm, shell.folder / "talk.rttm")
    (shell.folder / "m.json").write_text(
        '{"audio_filepath": "talk.wav", "num_speakers": 2, "rttm_filepath": "talk.rttm", "offset": 0}\n'
    )
    shell.env["DIARIST_CACHE"] = str(wav.parents[2])
    words = "run --engine nemo-style --preset telephonic --manifest m.json --vad oracle".split()
    done = shell.run(shell.real(*words, "--clustering-oracle-num-speakers", "--quiet"))
    assert (done.returncode, done.stderr) == (0, "")
    (found,) = formats.loads(done.stdout, "rttm")
    (reference,) = formats.read(rttm)
    assert (found.uri, found.num_speakers) == ("talk", 2)
    assert score(reference, found).confusion_rate < 0.25


@pytest.mark.parametrize("vad", ["silero", "segmentation"])
def test_two_people_are_told_apart(sample, vad):
    wav, rttm = sample
    (reference,) = formats.read(rttm)
    config = {"vad.model": vad, "segmentation.overlap": True}
    result = NemoStyleDiarizer("telephonic", config=config)(wav, num_speakers=2)
    errors = score(reference, result)
    assert result.num_speakers == 2
    assert errors.confusion_rate < 0.1
    assert errors.der < 0.3


def test_the_table_of_whisperx(sample):
    pytest.importorskip("pandas")
    from diarist.whisperx import DiarizationPipeline

    wav, _ = sample
    frame, voices = DiarizationPipeline()(str(wav), return_embeddings=True)
    assert sorted(set(frame.speaker)) == ["SPEAKER_00", "SPEAKER_01"] == sorted(voices)
    assert {len(voice) for voice in voices.values()} == {192}
