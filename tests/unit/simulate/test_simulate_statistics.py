import dataclasses

import numpy as np
import pytest

from diarist.core.types import Diarization, Turn
from diarist.errors import ConfigError
from diarist.simulate.config import SimulationConfig, TurnTaking
from diarist.simulate.statistics import Statistics, asked, calibrated, simulated_statistics, statistics_of

TOLD = Diarization(
    (
        Turn(1.0, 4.0, "a"),
        Turn(2.0, 2.5, "b"),  # backchannel
        Turn(4.5, 6.0, "a"),  # after a pause of 0.5
        Turn(6.2, 9.0, "b"),  # after a gap of 0.2
        Turn(8.7, 12.0, "c"),  # overlap of 0.3
    ),
    duration=20.0,
)


def test_counting_by_hand():
    counted = statistics_of([TOLD])
    assert counted.speakers == (3,)
    assert counted.duration == 20.0
    assert counted.speech == pytest.approx(3.0 + 1.5 + 5.8)
    assert counted.overlap == pytest.approx(0.8)
    assert counted.stretches == pytest.approx([3.0, 1.5, 2.8, 3.3])
    assert counted.pauses == pytest.approx([0.5])
    assert counted.gaps == pytest.approx([0.2])
    assert counted.overlaps == pytest.approx([0.3])
    assert counted.backchannels == pytest.approx([0.5])
    told = counted.summary()
    assert told["overlap_changes"] == 0.5 and told["hold"] == pytest.approx(1 / 3, abs=1e-4)
    assert told["backchannels"] == 3.0


def test_sums_are_counts_of_all():
    other = dataclasses.replace(TOLD, turns=TOLD.turns[:3])
    both = statistics_of([TOLD]) + statistics_of([other]) + Statistics()
    assert both.summary() == statistics_of([TOLD, other]).summary()
    assert both.speakers == (3, 2)


def test_nothing_said():
    told = statistics_of([Diarization((), duration=5.0)]).summary()
    assert told["speech_share"] == 0 and told["gap_median"] is None
    assert statistics_of([]).summary()["num_conversations"] == 0


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25])
def test_an_overlap_share_is_had(share):
    config = calibrated(TurnTaking(overlap_share=share))
    counted = simulated_statistics(4, 200.0, config, range(5000, 5150))
    assert counted.overlap / counted.speech == pytest.approx(share, rel=0.1)


def test_an_overlap_share_that_cannot_be_had():
    with pytest.raises(ConfigError, match=r"'overlap_share' 0.5 cannot be had"):
        calibrated(TurnTaking(overlap_share=0.5, stretch_median=0.6))


def test_nothing_to_calibrate():
    assert calibrated(TurnTaking()) == TurnTaking()


def test_asked_names_what_the_summary_names():
    config = SimulationConfig(speakers=(3,))
    wanted = asked(config)
    told = simulated_statistics(3, 300.0, config.turns, range(200)).summary()
    assert set(wanted) <= set(told)
    for name, value in wanted.items():
        if value is not None:
            assert told[name] == pytest.approx(value, rel=0.08), name


def test_asked_of_monologues():
    wanted = asked(SimulationConfig(speakers=(1,)))
    assert wanted["hold"] == 1.0 and wanted["gap_median"] is None
    assert np.isfinite(wanted["pause_median"])
