"""`evaluation.score` equals pyannote.metrics, and gives the DER that diart's paper printed."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.core.types import Diarization, Turn
from diarist.evaluation.score import Errors, score

core = pytest.importorskip("pyannote.core")
metrics = pytest.importorskip("pyannote.metrics.diarization")
pytestmark = pytest.mark.filterwarnings("ignore:'uem' was approximated")

DIART = Path(__file__).parents[2].parent / "shared/data/reference/diart"
COMPONENTS = {
    "total": "total",
    "correct": "correct",
    "miss": "missed detection",
    "false_alarm": "false alarm",
    "confusion": "confusion",
}


def times(exact: bool, least: float = 0.0):
    """Seconds: on a grid that floats hold exactly (so that ties stay ties), or any to the millisecond."""
    step = 64 if exact else 1000
    return st.integers(int(least * step), 30 * step).map(lambda n: n / step)


def diarizations(exact: bool):
    turn = st.builds(
        lambda start, duration, speaker: Turn(start, start + duration, speaker),
        times(exact),
        times(exact, 0.1),
        st.sampled_from("abcdef"),
    )
    return st.lists(turn, max_size=12).map(lambda turns: Diarization(tuple(turns)))


def uems(exact: bool):
    region = st.builds(lambda start, length: (start, start + length), times(exact), times(exact, 0.1))
    return st.none() | st.lists(region, min_size=1, max_size=3)


class Jaccard(metrics.JaccardErrorRate):
    """Without a reference speaker there is no rate; versions that Python 3.10 gets divide by zero there."""

    def compute_metric(self, detail):
        return super().compute_metric(detail) if detail["speaker count"] else 1.0


def oracle(kind, reference, hypothesis, uem, **options):
    """The metric after one call, with each speaker's own overlaps merged first."""
    metric = kind(**options)
    timeline = None if uem is None else core.Timeline([core.Segment(*region) for region in uem])
    detail = metric(
        reference.to_annotation().support(), hypothesis.to_annotation().support(), uem=timeline, detailed=True
    )
    return metric, detail


def check(reference, hypothesis, uem, **options):
    ours = score(reference, hypothesis, uem=uem, **options)
    metric, detail = oracle(metrics.DiarizationErrorRate, reference, hypothesis, uem, **options)
    for name, theirs in COMPONENTS.items():
        assert getattr(ours, name) == pytest.approx(detail[theirs], abs=1e-6)
    assert ours.der == pytest.approx(abs(metric), abs=1e-6)
    metric, detail = oracle(Jaccard, reference, hypothesis, uem, **options)
    assert ours.jer_speakers == detail["speaker count"]
    if ours.jer_speakers:  # without any, pyannote.metrics calls even an empty hypothesis all wrong
        assert ours.jer == pytest.approx(abs(metric), abs=1e-6)


@settings(max_examples=120, deadline=None)
@given(diarizations(True), diarizations(True), uems(True), st.sampled_from([0.0, 0.25, 0.5, 2.0]), st.booleans())
def test_equals_pyannote_metrics_on_a_grid(reference, hypothesis, uem, collar, skip_overlap):
    check(reference, hypothesis, uem, collar=collar, skip_overlap=skip_overlap)


@settings(max_examples=60, deadline=None)
@given(diarizations(False), diarizations(False), uems(False), st.floats(0, 1).map(lambda c: round(c, 3)))
def test_equals_pyannote_metrics_to_the_millisecond(reference, hypothesis, uem, collar):
    ours = score(reference, hypothesis, uem=uem, collar=collar)
    _, detail = oracle(metrics.DiarizationErrorRate, reference, hypothesis, uem, collar=collar)
    for name, theirs in COMPONENTS.items():
        assert getattr(ours, name) == pytest.approx(detail[theirs], abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(diarizations(True), diarizations(True)), min_size=1, max_size=4))
def test_the_sum_is_pyannote_metrics_accumulated(pairs):
    der, jer = metrics.DiarizationErrorRate(), Jaccard()
    for reference, hypothesis in pairs:
        annotations = reference.to_annotation().support(), hypothesis.to_annotation().support()
        der(*annotations)
        jer(*annotations)
    pooled = sum((score(*pair) for pair in pairs), Errors())
    assert pooled.der == pytest.approx(abs(der), abs=1e-6)
    if pooled.jer_speakers:
        assert pooled.jer == pytest.approx(abs(jer), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(diarizations(True), diarizations(True), uems(True))
def test_speaker_counts_equal_pyannote_metrics(reference, hypothesis, uem):
    if not hasattr(metrics, "DiarizationSpeakerCountAccuracy"):
        pytest.skip("this pyannote.metrics does not count speakers")
    ours = score(reference, hypothesis, uem=uem)
    accuracy, _ = oracle(metrics.DiarizationSpeakerCountAccuracy, reference, hypothesis, uem)
    error, _ = oracle(metrics.DiarizationSpeakerCountError, reference, hypothesis, uem)
    assert ours.count_accuracy == abs(accuracy)
    assert ours.mean_count_error == abs(error)


def read_rttm(path: Path) -> dict[str, Diarization]:
    turns = defaultdict(list)
    for line in path.read_text().splitlines():
        _, uri, _, start, duration, _, _, speaker, *_ = line.split()
        turns[uri].append(Turn(float(start), float(start) + float(duration), speaker))
    return {uri: Diarization(tuple(them), uri) for uri, them in turns.items()}


@pytest.mark.skipif(not DIART.is_dir(), reason=f"no {DIART}: diart's published output is kept apart")
@pytest.mark.parametrize(
    ("system", "published"),
    [("online_0.5s", 22.2), ("online_1.0s", 20.1), ("online_5.0s", 16.8), ("offline_vbx_osd", 11.1)],
)
def test_published_figures_of_diart_on_voxconverse(system, published):
    references = read_rttm(DIART / "voxconverse_test_v0.0.2.rttm")
    hypotheses = read_rttm(DIART / system / "VoxConverse.rttm")
    assert references.keys() == hypotheses.keys() and len(references) == 232
    begun = time.process_time()
    pooled = sum((score(references[uri], hypotheses[uri]) for uri in references), Errors())
    assert 100 * pooled.der == pytest.approx(published, abs=0.1)
    assert time.process_time() - begun < 10  # measured: 0.3 s
