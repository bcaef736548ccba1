"""Worker processes of a benchmark: how they end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

WORKER = """
import atexit, multiprocessing, os, signal, sys
from diarist.evaluation import workers

class Stopped:
    def start(self):
        os.kill(os.getpid(), signal.SIGTERM)

mine, theirs = multiprocessing.Pipe()
atexit.register(os.kill, os.getpid(), signal.SIGTERM)  # again, while the process is ending
if sys.argv[1] == "stopped":
    mine.send("an item")
else:
    mine.close()
workers._work(theirs, Stopped())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM to send")
@pytest.mark.parametrize(("how", "code"), [("stopped", 128 + signal.SIGTERM), ("done", 0)])
def test_a_process_that_is_ending_is_not_broken_into(how: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", WORKER, how], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")
