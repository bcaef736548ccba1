"""`diarist stream` as a person or a script meets it: terminals, signals, pipes that close, disks that fill."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest
from test_e2e_terminal import in_terminal

from diarist import formats
from toy_house import RATE, recording, write_wav

SAMPLES, _ = recording(12, 2, seed=2)


@pytest.fixture
def talk(tmp_path):
    write_wav(tmp_path / "talk.wav", SAMPLES)
    return tmp_path / "talk.wav"


def wait_for_text(path, text):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.02)
    pytest.fail(f"{path} never had {text!r}")


def test_a_person_sees_lanes_then_the_table(shell, talk):
    pytest.importorskip("rich")
    screen, _, code = in_terminal(shell, shell.toy("stream", "talk.wav", "--pace", "20"))
    lanes, _, table = screen.rpartition("talk: 2 speakers")
    assert code == 0 and "█" in lanes and "latency 0.5 s" in lanes and "speaker1" in lanes
    assert "turns in" in table and "speaker0" in table and "Traceback" not in screen


def test_no_plot_is_a_line_a_turn(shell, talk):
    screen, _, code = in_terminal(shell, shell.toy("stream", "talk.wav", "--no-plot"))
    assert code == 0 and "█" not in screen and screen.split()[2].startswith("speaker")


def test_ctrl_c_ends_the_stream_and_not_the_answer(shell, talk):
    pressed = []

    def keys(screen):
        if b"speaker1" in screen and not pressed:
            pressed.append(True)
            return b"\x03"
        return b""

    command = shell.toy("stream", "talk.wav", "--pace", "3", "--output", "made")
    screen, _, code = in_terminal(shell, command, keys=keys)
    assert code == 130 and "turns in" in screen and "Traceback" not in screen
    assert screen.endswith("wrote made/talk.rttm\r\n")
    (found,) = formats.read(shell.folder / "made" / "talk.rttm")
    assert 3 < max(turn.end for turn in found) < len(SAMPLES) / RATE - 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_flushes_what_was_heard(shell, tmp_path, number, code):
    """A pipe that stays open, as a recorder's does."""
    process = shell.start(shell.toy("stream", "-", "--output", "made"), stdin=subprocess.PIPE)
    process.stdin.write((SAMPLES[: 10 * RATE] * 32_767).astype("<i2").tobytes())
    process.stdin.flush()
    wait_for_text(tmp_path / "made" / "stdin.rttm", "speaker1")
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code and err == b""
    (found,) = formats.read(tmp_path / "made" / "stdin.rttm")
    assert found.num_speakers == 2 and out.decode().count("SPEAKER") >= 2
    assert max(turn.end for turn in found) > 9.0  # the tail as well


def test_a_kill_leaves_a_file_that_is_valid(shell, talk, tmp_path):
    process = shell.start(shell.toy("stream", "talk.wav", "--pace", "4", "--output", "made"))
    wait_for_text(tmp_path / "made" / "talk.rttm", "speaker1")
    process.kill()
    process.communicate(timeout=30)
    assert formats.read(tmp_path / "made" / "talk.rttm")[0].num_speakers == 2
    assert [p.name for p in (tmp_path / "made").iterdir()] == ["talk.rttm"]


def test_a_reader_that_leaves_ends_it_quietly(shell, talk, tmp_path):
    process = shell.start(shell.toy("stream", "talk.wav", "--pace", "10", "--output", "made", "--format", "jsonl"))
    while b'"final": []' in process.stdout.readline():
        pass
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), err) == (141, b"")
    (found,) = formats.read(tmp_path / "made" / "talk.rttm")  # of what was heard by then, clustered anew
    assert found.num_speakers >= 1 and "speaker" in found.labels[0]


def test_a_full_device_is_told(shell, talk):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    done = shell.run(shell.toy("stream", "talk.wav", "--output", "/dev/full"))
    assert done.returncode == 1 and "cannot" in done.stderr and done.stderr.count("\n") == 1
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = shell.run(shell.toy("stream", "talk.wav"), stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 1 and done.stderr == "diarist: error: No space left on device\n"


def test_one_program_feeds_the_other(shell, talk):
    """A recorder, this, and a reader of lines, in one pipe line."""
    words = " ".join(f"'{word}'" for word in shell.toy("stream", "-", "--quiet"))
    done = shell.run(["bash", "-c", f"cat talk.wav | {words} | grep -c '^SPEAKER stdin 1 '"])
    assert int(done.stdout) > 5 and done.stderr == ""


def test_real_time_takes_its_time(shell, tmp_path):
    write_wav(tmp_path / "short.wav", SAMPLES[: 3 * RATE])
    begun = time.monotonic()
    done = shell.run(shell.toy("stream", "short.wav", "--real-time"))
    assert done.returncode == 0 and time.monotonic() - begun > 3


@pytest.mark.weights
def test_the_sample_conversation_live_and_its_session(sample, capsys):
    """With the real networks the session is as right as the offline answer."""
    from diarist import diarize
    from diarist.cli.main import main
    from diarist.evaluation.score import score

    wav, rttm = sample
    (reference,) = formats.read(rttm)
    answers = {}
    for final in ("live", "session"):
        assert main(["stream", str(wav), "--latency", "5", "--final", final]) == 0
        (answers[final],) = formats.loads(capsys.readouterr().out, "rttm")
    offline = score(reference, diarize(wav)).der
    assert answers["session"].num_speakers == 2
    assert score(reference, answers["session"]).der <= offline + 0.02
    assert score(reference, answers["live"]).der <= offline + 0.15
