"""Live pipelines in a benchmark: what they say on the way and at the end, how long steps take, and that both add up."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarist import formats
from diarist.evaluation import benchmark_report
from diarist.evaluation.benchmark import run
from diarist.evaluation.dataset import find_items
from diarist.evaluation.distribution import Distribution
from diarist.evaluation.live import Live
from diarist.evaluation.systems import AS_IS, RENAMED, SESSION, Cost
from diarist.models.toy import ToyEmbedding, ToySegmentation
from diarist.pipelines.live_config import LiveConfig
from toy_house import recording, write_wav

SECONDS = st.lists(st.floats(1e-5, 100), max_size=50)


def live(name="live", batch_size=1, **config):
    config = {"delta_new": 0.5, **config}
    return Live(
        name, LiveConfig(**config), segmentation=ToySegmentation(), embedding=ToyEmbedding(), batch_size=batch_size
    )


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for index in range(2):
        samples, reference = recording(6, 2, seed=index)
        write_wav(folder / f"r{index}.wav", samples)
        formats.write(reference, folder / f"r{index}.rttm")
    return find_items(folder, folder)[0]


@given(SECONDS, SECONDS)
def test_distributions_add_up(one, other):
    both = Distribution.of(one) + Distribution.of(other)
    assert both == Distribution.of(one + other)
    assert Distribution.from_dict(json.loads(json.dumps(both.to_dict()))).counts == both.counts
    assert len(both) == len(one) + len(other)


@given(SECONDS.filter(bool), st.floats(0.01, 1))
def test_quantiles_are_right_to_a_hundredth(values, share):
    found = Distribution.of(values).quantile(share)
    assert found == pytest.approx(float(np.quantile(values, share, method="inverted_cdf")), rel=0.011)


def test_a_distribution_of_nothing():
    assert np.isnan(Distribution().quantile(0.5)) and Distribution().to_dict()["p95"] is None


def test_what_was_settled_and_what_was_said_at_the_end(items):
    done = run([live(latency=2.0)], items)
    outcome = done.outcomes[0]
    assert set(outcome.reports) == {AS_IS, RENAMED, SESSION} and not outcome.failed
    assert outcome.reports[RENAMED].pooled.der <= outcome.reports[AS_IS].pooled.der + 0.05
    assert outcome.reports[AS_IS].pooled.der < 0.3 and outcome.reports[SESSION].pooled.der < 0.15
    step, delay = outcome.cost.step, outcome.cost.delay
    assert len(step) == sum(-(-round(c.audio * 16_000) // 8000) for c in outcome.costs.values())
    assert 1.95 <= delay.quantile(0.5) < 5  # the oldest sound that a step settles has waited for the latency
    text = benchmark_report.to_text(done)
    assert "live, at the end" in text and "step ms p50" in text
    row = benchmark_report.to_csv(done).splitlines()[0].split(",")
    assert {"cost_step_p95", "cost_delay_max"} <= set(row)
    assert benchmark_report.to_dict(done)["systems"]["live"]["session"]["pooled"]["der"] < 0.15


def test_a_batch_of_steps_is_the_same_answer(items, tmp_path):
    for name, size in (("one", 1), ("many", 7)):
        run([live(name, size)], items, output=tmp_path)
    for path in (tmp_path / "one").rglob("*.rttm"):
        assert path.read_text() == (tmp_path / "many" / path.relative_to(tmp_path / "one")).read_text()


def test_figures_of_steps_are_kept_with_the_answers(items, tmp_path):
    first = run([live()], items, output=tmp_path).outcomes[0]
    again = run([live()], items, output=tmp_path, num_workers=2).outcomes[0]
    assert again.again == 2 and again.cost.step == first.cost.step and again.cost.delay == first.cost.delay
    assert Cost.from_dict(first.cost.to_dict()).step.counts == first.cost.step.counts


def test_latency_is_part_of_what_a_run_is_called(items):
    names = {run([live(latency=latency)], items[:1]).fingerprint for latency in (0.5, 1.0)}
    assert len(names) == 2
