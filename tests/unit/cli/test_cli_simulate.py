import argparse
import json

import numpy as np
import pytest
import soundfile

from diarist.cli import simulate as command
from diarist.core.config import walk
from diarist.errors import ConfigError, InputError, UsageError
from diarist.simulate.config import SimulationConfig


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    root = tmp_path_factory.mktemp("voices")
    rng = np.random.default_rng(0)
    for k in range(4):
        (root / f"v{k}").mkdir()
        envelope = np.repeat(rng.random(60) > 0.25, 8000)
        tone = 0.2 * np.sin(2 * np.pi * 300 * (k + 1) * np.arange(len(envelope)) / 16_000)
        soundfile.write(root / f"v{k}" / "a.wav", tone * envelope, 16_000)
    return root


def call(*words):
    parser = argparse.ArgumentParser(exit_on_error=False)
    command.configure(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


def test_it_writes_conversations_and_prints_what_came_out(speech, tmp_path, capsys):
    assert call(speech, "-o", tmp_path, "-n", 2, "--duration", "20-30", "--speakers", 2, "--seed", 7) == 0
    out, err = capsys.readouterr()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"sim_0000{i}.{suffix}" for i in range(2) for suffix in ("flac", "json", "rttm")
    ]
    assert "4 speakers, 0 recordings of noise" in err and "2/2 sim_00001 2 speakers" in err
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert lines["asked"] == ["realised"]
    assert lines["speakers_mean"] == ["2", "2"] and lines["num_conversations"] == ["2"]
    assert call(speech, "-o", tmp_path, "-n", 2, "--duration", "20-30", "--speakers", 2, "--seed", 7, "--json") == 0
    out, err = capsys.readouterr()
    assert "2/2 sim_00001 is there already" in err
    told = json.loads(out)
    assert told["asked"]["hold"] == 0.4 and told["realised"]["num_conversations"] == 2


def test_every_field_of_the_configuration_is_an_option(speech):
    parser = argparse.ArgumentParser()
    command.configure(parser)
    flags = {option for action in parser._actions for option in action.option_strings}
    for name, _, metadata in walk(SimulationConfig()):
        assert f"--{name.rpartition('.')[2].replace('_', '-')}" in flags
        assert metadata["help"] in " ".join(parser.format_help().split()) or "%" in metadata["help"]


def test_options_come_after_the_file(speech, tmp_path):
    (tmp_path / "c.toml").write_text("duration = [10.0, 12.0]\n[turns]\nhold = 0.8\ngap_median = 0.1\n")
    parser = argparse.ArgumentParser()
    command.configure(parser)
    args = parser.parse_args(
        [str(speech), "-o", "x", "--config", str(tmp_path / "c.toml"), "--hold", "0.2", "--snr=-5-10", "--no-reuse"]
    )
    config = command._config(args)
    assert config.duration == (10.0, 12.0) and config.turns.hold == 0.2 and config.turns.gap_median == 0.1
    assert config.acoustics.snr == (-5.0, 10.0) and config.reuse is False


def test_folds_keep_speakers_apart(speech, tmp_path, capsys):
    def used(*words):
        call(speech, "-o", tmp_path / words[0], "-n", 3, "--duration", 15, "--speakers", 1, *words)
        recipes = (json.loads(p.read_text()) for p in (tmp_path / words[0]).glob("*.json"))
        return {person["speaker"] for recipe in recipes for person in recipe["speakers"]}

    inside, outside = used("--fold", "0/2"), used("--without-fold", "0/2")
    assert inside and outside and not inside & outside


def test_a_file_that_cannot_be_read_is_skipped_with_a_warning(speech, tmp_path, capsys):
    both = tmp_path / "speech"
    for k in range(2):
        (both / f"v{k}").mkdir(parents=True)
        (both / f"v{k}" / "good.wav").write_bytes((speech / f"v{k}" / "a.wav").read_bytes())
    (both / "v0" / "bad.wav").write_bytes(b"junk")
    call(both, "-o", tmp_path / "out", "-n", 1, "--duration", 60, "--speakers", 2)
    err = capsys.readouterr().err
    assert "warning: sim_00000: " in err and "bad.wav" in err


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (("/nowhere",), InputError, "'/nowhere' is not a folder of speech"),
        ((), UsageError, "no speech to simulate from"),
        (("SPEECH", "--speakers", "6-8"), UsageError, "up to 8 speakers were asked for, but there are only 4"),
        (("SPEECH", "--hold", "3"), ConfigError, "'turns.hold' must be between"),
        (("SPEECH", "--speakers", "4-2"), ConfigError, "'speakers' must be one or two numbers in order"),
        (("SPEECH", "--overlap-share", "0.5", "--stretch-median", "0.6"), ConfigError, "cannot be had"),
        (("SPEECH", "--noise-dir", "/nowhere"), InputError, "'/nowhere' is not a folder of noise"),
        (("SPEECH", "--speaker-pattern", "("), UsageError, "not a regular expression"),
        (("SPEECH", "--speakers", "abc"), argparse.ArgumentError, "neither a number nor a range"),
        (("SPEECH", "--speakers", "1.5"), argparse.ArgumentError, "whole numbers"),
        (("SPEECH", "--fold", "4/4"), argparse.ArgumentError, "is not K/N"),
    ],
)
def test_errors_say_what_to_do(speech, tmp_path, words, error, text):
    with pytest.raises(error, match=text):
        call(*(speech if word == "SPEECH" else word for word in words), "-o", tmp_path)
    assert not list(tmp_path.iterdir())
