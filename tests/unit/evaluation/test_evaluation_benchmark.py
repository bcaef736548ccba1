"""Benchmarks on toy voices, in real worker processes: the figures, what is kept, what fails."""

import csv
import dataclasses
import io
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from diarist import formats
from diarist.core.config import replace_from
from diarist.core.types import Diarization, Turn
from diarist.errors import InputError, MissingError, UsageError, WeightsError
from diarist.evaluation import benchmark_report
from diarist.evaluation.benchmark import run
from diarist.evaluation.dataset import find_items
from diarist.evaluation.report import Convention
from diarist.evaluation.score import score
from diarist.evaluation.systems import AS_IS, Answer, Command, Cost, Offline
from diarist.models.toy import ToyEmbedding, ToySegmentation
from diarist.pipelines.config import PipelineConfig, RuntimeConfig
from toy_house import CONFIG, diarizer, recording, write_wav

TOY = replace_from(PipelineConfig(), CONFIG)


def toy(name="toy", config=TOY):
    return Offline(name, config, RuntimeConfig(num_threads=1), ToySegmentation(), ToyEmbedding())


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Three recordings with references, each of another number of speakers, and other files beside them."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "deep").mkdir()
    for index, name in enumerate(("ann", "bob", "deep/cat")):
        samples, reference = recording(8 + 2 * index, index + 1, seed=index)
        write_wav(folder / f"{name}.wav", samples)
        uri = name.rpartition("/")[2]
        formats.write(dataclasses.replace(reference, uri=uri), folder / f"{name}.rttm")
    (folder / "notes.txt").write_text("not sound")
    return folder


@pytest.fixture
def items(house):
    return find_items(house, house)[0]


@dataclasses.dataclass(frozen=True)
class Moody:
    """A system that says one turn of each recording, and fails over some; `log` has a line for each that it heard."""

    log: str
    bad: tuple[str, ...] = ()
    how: str = "error"
    name: str = "moody"
    variants: tuple[str, ...] = (AS_IS,)

    def settings(self):
        return {"engine": "moody", "log": self.log}

    def start(self):
        return self._answer

    def _answer(self, item):
        with Path(self.log).open("a") as file:
            file.write(f"{item.uri}\n")
        if item.uri in self.bad:
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise {
                "error": InputError("it is\ndamaged"),
                "bug": ZeroDivisionError("division by zero"),
                "weights": WeightsError("no weights"),
            }[self.how]
        return Answer({AS_IS: Diarization((Turn(0, 5, "X"),))}, Cost(10.0, 2.0, 3.0, 1000))


def heard(system):
    log = Path(system.log)
    return sorted(log.read_text().split()) if log.exists() else []


def test_the_figures_are_those_of_the_pipeline_and_of_the_scorer(house, items, tmp_path):
    done = run([toy()], items, output=tmp_path)
    (outcome,) = done.outcomes
    assert done.failed == 0 and sorted(outcome.report.files) == ["ann", "bob", "cat"]
    for item in items:
        answer = diarizer(config=TOY)(item.audio, uri=item.uri)
        (read,) = formats.read(tmp_path / "toy" / f"{item.uri}.rttm")
        assert read.to_rttm() == answer.to_rttm()
        assert outcome.report.files[item.uri] == score(item.reference, read)
        cost = outcome.costs[item.uri]
        assert cost.audio == answer.duration and cost.wall > 0 and cost.cpu > 0
        assert 20e6 < cost.peak < 4e9
    assert 0 < outcome.report.pooled.der < 0.1
    assert outcome.cost.audio == pytest.approx(sum(c.audio for c in outcome.costs.values()))


def test_two_workers_find_what_one_finds(items):
    one, two = (run([toy()], items, num_workers=n) for n in (1, 2))
    assert one.outcomes[0].report == two.outcomes[0].report and one.fingerprint == two.fingerprint
    assert (one.num_workers, two.num_workers) == (1, 2)


def test_what_is_there_is_not_done_again(items, tmp_path):
    system = Moody(str(tmp_path / "log"), bad=("bob",))
    output = tmp_path / "out"
    first = run([system], items, output=output)
    assert first.outcomes[0].failed == {"bob": "it is damaged"} and heard(system) == ["ann", "bob", "cat"]
    told = []
    second = run([dataclasses.replace(system, bad=())], items, output=output, tell=told.append)
    assert heard(system) == ["ann", "bob", "bob", "cat"] and second.failed == 0
    assert {d.item.uri: d.again for d in told} == {"ann": True, "bob": False, "cat": True}
    assert second.outcomes[0].again == 2 and "moody: 2 of 3 measured in an earlier run" in benchmark_report.to_text(
        second
    )
    assert second.outcomes[0].costs["ann"] == Cost(10.0, 2.0, 3.0, 1000)
    # cut off between the turns and the record, or turns that were changed since: done again
    (output / "moody" / "ann.json").unlink()
    (output / "moody" / "cat.rttm").write_text("")
    third = run([dataclasses.replace(system, bad=())], items, output=output)
    assert heard(system) == ["ann", "ann", "bob", "bob", "cat", "cat"]
    assert third.outcomes[0].report == second.outcomes[0].report and third.fingerprint == second.fingerprint
    run([dataclasses.replace(system, bad=())], items, output=output, overwrite=True)
    assert len(heard(system)) == 9


def test_another_convention_needs_no_new_answers(items, tmp_path):
    system = Moody(str(tmp_path / "log"))
    plain = run([system], items, output=tmp_path)
    collar = run([system], items, output=tmp_path, convention=Convention(collar=1.0))
    assert len(heard(system)) == 3
    assert collar.outcomes[0].report.pooled.total < plain.outcomes[0].report.pooled.total
    assert collar.fingerprint != plain.fingerprint


def test_a_recording_that_changed_is_done_again(house, tmp_path):
    copy = tmp_path / "ann.wav"
    copy.write_bytes((house / "ann.wav").read_bytes())
    system = Moody(str(tmp_path / "log"))
    before = run([system], find_items(tmp_path, house)[0], output=tmp_path / "out")
    os.utime(copy, ns=(0, 0))
    after = run([system], find_items(tmp_path, house)[0], output=tmp_path / "out")
    assert heard(system) == ["ann", "ann"] and before.fingerprint != after.fingerprint


def test_answers_of_another_configuration_are_not_mixed_in(items, tmp_path):
    run([Moody(str(tmp_path / "log"))], items, output=tmp_path)
    other = Moody(str(tmp_path / "other"))
    with pytest.raises(UsageError, match=r"another configuration or version of 'moody'.*--overwrite"):
        run([other], items, output=tmp_path)
    assert heard(other) == []
    run([other], items, output=tmp_path, overwrite=True)
    assert heard(other) == ["ann", "bob", "cat"]


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("error", "it is damaged"),
        ("bug", "ZeroDivisionError: division by zero"),
        ("killed", "its worker process was killed by signal 9 (out of memory?)"),
    ],
)
def test_one_that_fails_costs_nobody_else(items, tmp_path, how, says):
    system = Moody(str(tmp_path / "log"), bad=("ann", "bob"), how=how)
    done = run([system], items, num_workers=2)
    assert done.outcomes[0].failed == {"ann": says, "bob": says} and done.failed == 2
    assert list(done.outcomes[0].report.files) == ["cat"]


def test_what_all_would_fail_for_ends_the_run(items, tmp_path):
    system = Moody(str(tmp_path / "log"), bad=("ann", "bob", "cat"), how="weights")
    with pytest.raises(MissingError, match="no weights") as caught:
        run([system], items)
    assert caught.value.exit_code == 3 and len(heard(system)) == 1


def test_systems_side_by_side_are_pooled_over_what_all_answered(items, tmp_path):
    good, poor = (Moody(str(tmp_path / name), name=name) for name in ("good", "poor"))
    done = run([good, dataclasses.replace(poor, bad=("cat",)), toy()], items, output=tmp_path / "out")
    assert done.shared() == ["ann", "bob"]
    values = benchmark_report.to_dict(done)
    assert values["compared"]["recordings"] == ["ann", "bob"]
    assert values["compared"]["pooled"]["good"] == values["compared"]["pooled"]["poor"]
    assert values["systems"]["good"]["errors"]["pooled"]["files"] == 3
    assert values["systems"]["poor"]["failed"] == {"cat": "it is damaged"}
    text = benchmark_report.to_text(done)
    lines = [line.split() for line in text.splitlines()]
    assert ["DER", "%", "good", "poor", "toy"] in lines
    assert any(line[:1] == ["cat"] and line[2] == "failed" for line in lines)
    assert "2 recordings pooled" in text and "poor: 1 of 3 recordings failed" in text
    assert ["good", "1080.0", "5.0", "0", "0.5"] in lines  # 3 s of CPU and 2 s of time for 10 s of sound
    with pytest.raises(UsageError, match="two systems are called 'good'"):
        run([good, good], items)


def test_csv_has_a_row_for_each_figure(items, tmp_path):
    done = run([Moody(str(tmp_path / "log"), bad=("bob",))], items)
    rows = list(csv.DictReader(io.StringIO(benchmark_report.to_csv(done))))
    assert [(r["row"], r["name"]) for r in rows] == [
        ("file", "ann"),
        ("file", "cat"),
        ("pooled", "pooled"),
        ("failed", "bob"),
    ]
    errors = done.outcomes[0].report.files["ann"]
    assert float(rows[0]["der"]) == pytest.approx(errors.der, abs=1e-6) and rows[0]["cost_cpu"] == "3.0"
    assert rows[2]["cost_audio"] == "20.0" and rows[2]["cost_peak"] == "1000" and rows[3]["failed"] == "it is damaged"
    assert {r["collar"] for r in rows} == {"0.0"}
    assert json.loads(benchmark_report.to_json(done))["systems"]["moody"]["cost"]["total"]["times_real_time"] == 5.0


def test_costs_add_up():
    one, other = Cost(10, 2, 4, 100), Cost(20, 4, None, 300)
    assert Cost() + one == one and one + one == Cost(20, 4, 8, 100)
    assert (one + other).cpu is None and (one + other).peak == 300
    assert one.cpu_per_hour == 1440 and one.times_real_time == 5
    assert Cost().times_real_time is None and (one + other).cpu_per_hour is None


# other programs


def python(tmp_path, code, arguments):
    script = tmp_path / "a tool.py"
    script.write_text(f"import os, sys, time\n{code}\n")
    return f"{sys.executable} '{script}' {arguments}"


SAY = "print(f'SPEAKER {uri} 1 0.0 5.0 <NA> <NA> X <NA> <NA>')"


def test_a_command_is_read_from_its_file_or_its_output(items, tmp_path):
    code = "audio, uri, rttm = sys.argv[1:]\nassert os.path.exists(audio)\nsys.stdout = open(rttm, 'w')\n"
    to_file = Command("file", python(tmp_path, code + SAY, "{audio} {uri} {rttm}"))
    (tmp_path / "b").mkdir()
    code = "uri = sys.argv[1]\nassert sys.argv[2].endswith('.wav')\n"
    to_output = Command("output", python(tmp_path / "b", code + SAY, "{uri} {audio}"))
    done = run([to_file, to_output], items, num_workers=2)
    assert done.failed == 0
    expected = {i.uri: score(i.reference, Diarization((Turn(0, 5, "X"),))) for i in items}
    assert dict(done.outcomes[0].report.files) == dict(done.outcomes[1].report.files) == expected
    costs = done.outcomes[0].costs
    assert all(c.audio > 10 and 0 < c.cpu < 10 and c.wall > 0 for c in costs.values())


def test_a_command_is_charged_for_its_own_time_and_memory(items, tmp_path):
    code = (
        "held = bytearray(150_000_000)\nbegun = time.process_time()\nwhile time.process_time() - begun < 0.3: pass\n"
        "time.sleep(0.3)"
    )
    (outcome,) = run([Command("busy", python(tmp_path, code, "{audio}"))], items[:1]).outcomes
    cost = outcome.costs[items[0].uri]
    assert 0.3 <= cost.cpu < 3 and cost.wall >= 0.6 and 150e6 < cost.peak < 250e6
    (tmp_path / "b").mkdir()
    (outcome,) = run([Command("idle", python(tmp_path / "b", "", "{audio}"))], items[:1]).outcomes
    assert outcome.costs[items[0].uri].peak < 40e6  # not the memory of the worker that started it
    assert outcome.report.pooled.miss_rate == 1  # it said nothing: nobody talks


@pytest.mark.parametrize(
    ("code", "arguments", "says"),
    [
        ("print('oops', file=sys.stderr)\nsys.exit(3)", "{audio}", "failed with exit code 3: oops"),
        ("os.kill(os.getpid(), 9)", "{audio}", "failed with exit code 137: it said nothing"),
        ("", "{audio} {rttm}", "wrote no file {rttm}"),
        ("print('hello')", "{audio}", "an RTTM line begins with SPEAKER"),
        (
            "for uri in 'ab': " + SAY,
            "{audio}",
            "told of 2 recordings, and none of them is called 'ann'",
        ),
    ],
)
def test_a_command_that_fails(items, tmp_path, code, arguments, says):
    done = run([Command("tool", python(tmp_path, code, arguments))], items[:1])
    (why,) = done.outcomes[0].failed.values()
    assert says in why and "\n" not in why


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("cat {audoi}", "unknown placeholder '{audoi}'.*did you mean 'audio'"),
        ("cat {rttm}", "put {audio} in it"),
        ("cat 'x {audio}", "does not parse"),
        ("no-such-program-here {audio}", "there is no program 'no-such-program-here'"),
        ("", "empty"),
    ],
)
def test_a_template_that_cannot_be(template, says):
    with pytest.raises(UsageError, match=says):
        Command("tool", template)


# the data


def test_only_sound_with_a_reference_is_taken(house, tmp_path):
    items, warnings = find_items(house, house)
    assert [(i.uri, i.name) for i in items] == [("ann", "ann.wav"), ("bob", "bob.wav"), ("cat", "deep/cat.wav")]
    assert warnings == []
    (tmp_path / "deep").mkdir()
    for name in ("ann.wav", "deep/more.wav", ".hidden.wav"):
        (tmp_path / name).write_bytes(b"x")
    items, warnings = find_items(tmp_path, house)
    assert [i.uri for i in items] == ["ann"]
    assert warnings == [
        "no reference for 'more': left out",
        "no recording for the reference of 'bob', 'cat': left out",
    ]


def test_a_uem_chooses_recordings(house):
    items, warnings = find_items(house, house, {"bob": [(0.0, 5.0)]})
    assert [i.uri for i in items] == ["bob"] and warnings == ["not in the UEM, so not run: 'ann', 'cat'"]
    done = run([toy()], items, uem={"bob": [(0.0, 5.0)]})
    assert done.outcomes[0].report.pooled.speech < 5


def test_one_and_one_belong_together(house, tmp_path):
    (tmp_path / "mix.wav").write_bytes(b"x")
    items, warnings = find_items(tmp_path, house / "bob.rttm")
    assert [i.uri for i in items] == ["bob"] and warnings == ["recording 'mix.wav' is taken for reference 'bob'"]


def test_data_that_cannot_be(house, tmp_path):
    with pytest.raises(InputError, match="no recordings in"):
        find_items(tmp_path, house)
    with pytest.raises(InputError, match="no such folder"):
        find_items(tmp_path / "gone", house)
    for name in ("x.wav", "y.wav"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=r"\('x', 'y'\) has a reference in .* \('ann', 'bob', 'cat'\)"):
        find_items(tmp_path, house)


def test_a_recording_that_is_no_sound_fails_alone(house, tmp_path):
    (tmp_path / "ann.wav").write_bytes(b"not a recording at all")
    (tmp_path / "bob.wav").write_bytes((house / "bob.wav").read_bytes())
    done = run([toy()], find_items(tmp_path, house)[0])
    assert list(done.outcomes[0].failed) == ["ann"] and list(done.outcomes[0].report.files) == ["bob"]
