"""The command as a person or a script meets it: terminals, pipes, signals."""

import os
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from diarist import formats
from toy_house import RATE, recording, write_wav

pty = pytest.importorskip("pty", reason="terminals are for POSIX")


@pytest.fixture
def meeting(tmp_path):
    """Some minutes of talk, so that there is something to interrupt."""
    samples, reference = recording(60, 2)
    write_wav(tmp_path / "meeting.wav", samples)
    return reference


def in_terminal(shell, command, *, stdout_too=True, columns=100, keys=None):
    """What a person sees, and the exit code; `keys(screen so far)` may return keys to press."""
    import fcntl
    import struct
    import termios

    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    process = shell.start(
        command,
        stdin=side,
        stderr=side,
        stdout=side if stdout_too else subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(side)
    screen, deadline = b"", time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([main], [], [], 0.1)[0]:
            try:
                new = os.read(main, 65536)
            except OSError:  # closed at the other end
                break
            if not new:
                break
            screen += new
            if keys is not None and (pressed := keys(screen)):
                os.write(main, pressed)
        elif process.poll() is not None:
            break
    os.close(main)
    out = b"" if stdout_too else process.stdout.read()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    return screen.decode(), out.decode(), process.wait(10)


def test_a_person_sees_progress_then_a_table(shell, meeting):
    screen, _, code = in_terminal(shell, shell.toy("run", "meeting.wav"))
    bar, _, table = screen.rpartition("\r\x1b[K")
    assert code == 0 and "listening  [" in bar and "x real time" in bar and "left" in bar
    assert table.startswith("meeting: 2 speakers, ") and "SPEAKER_01" in table
    assert all(len(line) <= 99 for line in bar.replace("\r\x1b[K", "\n").split("\n"))


@pytest.mark.parametrize("stdout_too", [True, False])
def test_a_narrow_terminal_gets_a_narrow_bar(shell, meeting, stdout_too):
    screen, _, _ = in_terminal(shell, shell.toy("run", "meeting.wav"), columns=40, stdout_too=stdout_too)
    bar = screen.rpartition("\r\x1b[K")[0]
    assert max(len(line) for line in bar.replace("\r\x1b[K", "\n").split("\n")) == 39


def test_into_a_file_goes_rttm_and_the_bar_stays_on_the_terminal(shell, meeting):
    screen, out, code = in_terminal(shell, shell.toy("run", "meeting.wav"), stdout_too=False)
    assert code == 0 and "listening" in screen and "SPEAKER" not in screen
    assert formats.loads(out, "rttm")[0].num_speakers == 2


def test_quiet_leaves_the_terminal_alone(shell, meeting):
    screen, out, code = in_terminal(shell, shell.toy("run", "meeting.wav", "--quiet"), stdout_too=False)
    assert (code, screen) == (0, "") and out
    screen, _, _ = in_terminal(shell, shell.toy("run", "meeting.wav", "--quiet", "--out", "made"))
    assert screen == ""


def test_a_person_is_told_where_the_files_are(shell, meeting):
    screen, _, _ = in_terminal(shell, shell.toy("run", "meeting.wav", "--out", "made", "--format", "vtt"))
    assert screen.rpartition("\r\x1b[K")[2] == "wrote made/meeting.vtt\r\n"


def test_a_script_sees_no_bar(shell, meeting):
    done = shell.run(shell.toy("run", "meeting.wav"))
    assert (done.returncode, done.stderr) == (0, "") and formats.loads(done.stdout, "rttm")


def test_a_reader_that_leaves_ends_it_quietly(shell, meeting):
    command = " ".join(f"'{word}'" for word in shell.toy("run", *["meeting.wav"] * 1, "--format", "json"))
    done = shell.run(["bash", "-c", f"{command} | head -1; echo ${{PIPESTATUS[0]}} >&2"])
    assert done.stdout == "{\n" and done.stderr.strip() in ("0", "141")  # 0 where all fitted into the pipe


def test_a_reader_that_left_before_the_answer(shell, meeting):
    process = shell.start(shell.toy("run", "meeting.wav"))
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    assert (process.wait(60), err) == (141, "")


def test_a_full_device_is_told(shell, meeting):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = shell.run(shell.toy("run", "meeting.wav"), stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == 1 and done.stderr == "diarist: error: No space left on device\n"


def slow(shell, tmp_path, seconds="0.5"):
    """Networks that take their time, and the file that says that they are at work."""
    shell.env.update(TOY_STARTED=str(tmp_path / "started"), TOY_SECONDS=seconds)
    return tmp_path / "started"


def wait_for(path):
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


def test_an_interrupt_stops_soon_and_leaves_nothing(shell, meeting, tmp_path):
    started = slow(shell, tmp_path, "1.0")
    process = shell.start(shell.toy("run", "meeting.wav", "--out", "made", "--num-threads", "1"))
    wait_for(started)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"diarist: interrupted\n")
    assert time.monotonic() - begun < 10  # what had begun is finished; a dozen more were waiting
    assert list((tmp_path / "made").iterdir()) == []


def test_ctrl_c_on_a_terminal(shell, meeting, tmp_path):
    slow(shell, tmp_path)
    pressed = []

    def keys(screen):
        if b"listening" in screen and not pressed:
            pressed.append(True)
            return b"\x03"
        return b""

    screen, _, code = in_terminal(shell, shell.toy("run", "meeting.wav"), keys=keys)
    assert code == 130 and screen.endswith("\r\x1b[Kdiarist: interrupted\r\n") and "Traceback" not in screen


def test_standard_input(shell, meeting, tmp_path):
    content = (tmp_path / "meeting.wav").read_bytes()
    done = shell.run(shell.toy("run", "-"), input=content, text=False)
    expected = shell.run(shell.toy("run", "meeting.wav")).stdout
    assert done.returncode == 0 and done.stdout.decode() == expected.replace(" meeting ", " stdin ")
    for content, said in ((b"", "standard input is empty"), (b"hello", "standard input is not a recording")):
        done = shell.run(shell.toy("run", "-"), input=content, text=False)
        assert done.returncode == 1 and said in done.stderr.decode() and done.stderr.count(b"\n") == 1


def test_standard_input_that_is_a_terminal(shell):
    screen, _, code = in_terminal(shell, shell.toy("run", "-"))
    assert code == 1 and "pipe one in" in screen


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_in_any_script(shell, tmp_path, encoding):
    write_wav(tmp_path / "пять минут.wav", recording(3, 1)[0])
    shell.env["PYTHONIOENCODING"] = encoding
    done = shell.run(shell.toy("run", "пять минут.wav"))
    assert done.returncode == 0 and done.stderr == ""
    assert ("пять_минут" in done.stdout) is (encoding == "utf-8") and done.stdout.startswith("SPEAKER ")


def test_a_name_that_is_no_text(shell, tmp_path):
    write_wav(tmp_path / "plain.wav", recording(3, 1)[0])
    try:
        (tmp_path / "plain.wav").rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    except OSError:
        pytest.skip("file names are text here")
    done = shell.run([*shell.toy("run", "."), "--format", "json"])
    assert done.returncode == 0 and done.stderr == ""


def test_several_processes_at_once(shell, meeting):
    processes = [shell.start(shell.toy("run", "meeting.wav", "--out", "made")) for _ in range(3)]
    assert [(p.communicate(timeout=120), p.returncode)[1] for p in processes] == [0, 0, 0]
    made = Path(shell.folder / "made")
    assert [p.name for p in made.iterdir()] == ["meeting.rttm"]
    assert formats.read(made / "meeting.rttm")[0].num_speakers == 2


@pytest.mark.slow
def test_a_long_recording_stays_in_memory(shell, tmp_path):
    """An hour takes little more than a minute and a half; its samples alone are 230 MB."""
    import numpy as np
    import soundfile

    minute = recording(20, 2)[0][: 45 * RATE]
    with soundfile.SoundFile(tmp_path / "long.wav", "w", RATE, 1, "PCM_16") as file:
        for _ in range(80):
            file.write(minute)
    write_wav(tmp_path / "short.wav", np.concatenate([minute, minute]))
    code = (
        "import resource, runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    peaks = []
    for name in ("short.wav", "long.wav"):
        command = shell.toy("run", name)
        done = shell.run([command[0], "-c", code, *command[1:]])
        peaks.append(int(done.stderr.split()[-1]) / 1024)
        assert done.stdout.count("\n") > 10
    assert peaks[1] - peaks[0] < 80, peaks
