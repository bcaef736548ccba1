import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diarist.errors import ConfigError
from diarist.simulate.config import TurnTaking
from diarist.simulate.plan import Length, make_plan, perform, planned, reference

NAMES = list("abcdefgh")
CONFIGS = {
    "default": TurnTaking(),
    "lively": TurnTaking(
        hold=0.2, stretch_median=1.2, pause_median=0.9, gap_median=0.2, overlap_changes=(0.4,), backchannels=4.0
    ),
    "interview": TurnTaking(
        hold=0.7,
        stretch_median=4.0,
        stretch_spread=0.5,
        stretch_most=25.0,
        gap_median=0.8,
        gap_spread=0.4,
        overlap_changes=(0.0, 0.1),
        interruptions=0.0,
        backchannels=0.5,
        backchannel_length=(0.4, 0.6),
    ),
}


def conversations(config, num, speakers=(2, 6), duration=(90, 300)):
    for i in range(num):
        rng = np.random.default_rng([99, i])
        k = int(rng.integers(speakers[0], speakers[1] + 1))
        plan = make_plan(k, float(rng.uniform(*duration)), config, rng)
        yield k, reference(planned(plan), NAMES[:k], config.bridge, f"c{i}", plan.duration)


def measure(config, num):
    """From the turns alone and not with the package's own counting: lists of seconds, and totals."""
    stretches, pauses, gaps, overlaps, backs = [], [], [], [], []
    minutes = holds = moves = 0
    for k, said in conversations(config, num):
        assert {t.speaker for t in said} == set(NAMES[:k])
        floor = [
            t
            for t in said
            if not any(o is not t and o.speaker != t.speaker and o.start < t.start and t.end < o.end for o in said)
        ]
        backs += [t.duration for t in said if t not in floor]
        stretches += [t.duration for t in floor if t.end < said.duration - 0.005]  # not cut off by the end
        minutes += said.duration / 60
        for before, after in itertools.pairwise(floor):
            offset = after.start - before.end
            if before.speaker == after.speaker:
                pauses.append(offset)
                holds += 1
            else:
                moves += 1
                (gaps if offset > -1e-9 else overlaps).append(abs(offset))
    return stretches, pauses, gaps, overlaps, backs, minutes, holds, moves


@pytest.mark.parametrize("name", CONFIGS)
def test_a_thousand_conversations_match_what_was_asked(name):
    config = CONFIGS[name]
    stretches, pauses, gaps, overlaps, backs, minutes, holds, moves = measure(config, 1000)
    assert np.median(stretches) == pytest.approx(config.stretch_median, rel=0.03)
    excess = np.log(np.array(stretches) - config.stretch_least + 0.005)
    assert np.std(excess) == pytest.approx(config.stretch_spread, rel=0.06)
    assert np.median(pauses) == pytest.approx(config.pause_median, rel=0.03)
    assert min(pauses) >= config.bridge - 1e-9
    assert np.median(gaps) == pytest.approx(config.gap_median, rel=0.04)
    assert np.std(np.log(np.array(gaps) + 0.005)) == pytest.approx(config.gap_spread, rel=0.08)
    assert holds / (holds + moves) == pytest.approx(config.hold, abs=0.015)
    asked = (config.overlap_changes[0] + config.overlap_changes[-1]) / 2
    assert len(overlaps) / moves == pytest.approx(asked, abs=0.012)
    assert len(backs) / minutes == pytest.approx(config.backchannels, rel=0.06)
    low, high = config.backchannel_length
    assert np.mean(backs) == pytest.approx((low + high) / 2, rel=0.03)
    assert low - 0.01 <= min(backs) and max(backs) <= high + 0.01
    if config.interruptions == 0:
        assert np.median(overlaps) == pytest.approx(config.overlap_median, rel=0.05)


def test_interruptions_are_the_longer_overlaps():
    """A mixture of two log-normals: the share above a length, computed from the normal distribution."""
    from statistics import NormalDist

    config = TurnTaking(overlap_changes=(0.3,), interruptions=0.4, interruption_median=1.5, stretch_median=4.0)
    overlaps = np.array(measure(config, 300)[3])
    tail = [1 - NormalDist(np.log(m), config.overlap_spread).cdf(np.log(1.0)) for m in (0.4, 1.5)]
    assert np.mean(overlaps > 1.0) == pytest.approx(0.6 * tail[0] + 0.4 * tail[1], abs=0.03)


def test_the_defaults_have_the_mode_of_gaps_at_a_fifth_of_a_second():
    gaps = np.array(measure(TurnTaking(), 400)[2])
    counts, edges = np.histogram(gaps, bins=np.arange(-0.005, 1.0, 0.06))
    assert 0.1 <= edges[np.argmax(counts)] + 0.03 <= 0.3


def test_shares_of_the_floor_follow_the_evenness():
    def largest(evenness):
        said = conversations(TurnTaking(evenness=evenness), 150, (4, 4), (200, 200))
        return np.mean([max(d.talk_time().values()) / sum(d.talk_time().values()) for _, d in said])

    assert largest(100.0) < 0.35 < 0.42 < largest(1.0)


configs = st.builds(
    TurnTaking,
    hold=st.floats(0, 0.9),
    stretch_median=st.floats(0.6, 6),
    stretch_spread=st.floats(0, 1.5),
    gap_median=st.floats(0, 1),
    pause_median=st.floats(0.3, 2),
    overlap_changes=st.floats(0, 1).map(lambda x: (x,)),
    overlap_median=st.floats(0.05, 3),
    interruptions=st.floats(0, 1),
    backchannels=st.floats(0, 20),
    evenness=st.floats(0.2, 50),
)


@settings(max_examples=60, deadline=None)
@given(configs, st.integers(1, 8), st.floats(20, 120), st.integers(0, 1000), st.floats(0.3, 1.7))
def test_what_holds_for_every_plan(config, num_speakers, duration, seed, stretch):
    """Also where the pieces turn out longer or shorter than planned."""
    rng = np.random.default_rng(seed)
    plan = make_plan(num_speakers, duration, config, rng)
    spoken = list(perform(plan, lambda speaker, length: Length(max(int(stretch * length * rng.uniform(0.8, 1.2)), 3))))
    said = reference(spoken, NAMES[:num_speakers], config.bridge, "x", plan.duration)
    if stretch <= 1:
        assert said.num_speakers == num_speakers
    assert all(0 <= t.start < t.end <= duration + 0.01 for t in said)
    frames = np.zeros((num_speakers, plan.duration + 1), int)
    for t in said:
        frames[NAMES.index(t.speaker), round(100 * t.start) : round(100 * t.end)] += 1
    assert frames.max(initial=0) <= 1  # nobody talks over himself
    assert frames.sum(axis=0).max() <= 2  # never three at once
    for name in NAMES[:num_speakers]:
        mine = sorted(t for t in said if t.speaker == name)
        assert all(b.start - a.end >= config.bridge - 1e-9 for a, b in itertools.pairwise(mine))


def test_long_pauses_push_nobody_out_of_the_conversation():
    """Pauses of 2 s and more, somebody.s first word after one of them: the silences before it are shortened."""
    config = TurnTaking(
        hold=0.5, stretch_median=0.625, stretch_spread=0.0, gap_median=0.0, pause_median=2.0, backchannels=0.0
    )
    plans = [make_plan(3, 20.0, config, np.random.default_rng(seed)) for seed in range(200)]
    said = [reference(planned(plan), NAMES[:3], config.bridge, "x", plan.duration) for plan in plans]
    assert all(d.num_speakers == 3 for d in said)
    silences = [b.start - a.end for d in said for a, b in itertools.pairwise(sorted(d.turns)) if a.speaker == b.speaker]
    assert min(silences) >= config.bridge - 1e-9 and np.median(silences) > 1.5


def test_a_monologue_has_pauses_only():
    (_, said), *_ = conversations(TurnTaking(), 1, (1, 1))
    assert said.num_speakers == 1 and len(said) > 5 and not said.overlaps()


def test_too_many_speakers_for_the_time_is_an_error():
    with pytest.raises(ConfigError, match=r"30 speakers do not fit into 5\.0 s"):
        make_plan(30, 5.0, TurnTaking(), np.random.default_rng(0))


def test_a_conversation_ends_where_nothing_is_left_to_say():
    plan = make_plan(2, 60.0, TurnTaking(), np.random.default_rng(0))
    left = iter([Length(100)] * 5)
    spoken = list(perform(plan, lambda speaker, length: next(left, None)))
    assert 4 <= len(spoken) <= 5 and max(s.end for s in spoken) < 3000


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"overlap_changes": (0.5, 0.2)}, "overlap_changes"),
        ({"overlap_changes": ()}, "overlap_changes"),
        ({"backchannel_length": (0.3, 20.0)}, "backchannel_length"),
        ({"stretch_median": 0.3}, "stretch_least"),
        ({"pause_median": 0.2}, "bridge"),
    ],
)
def test_what_cannot_be_asked(values, named):
    with pytest.raises(ConfigError, match=named):
        TurnTaking(**values)
