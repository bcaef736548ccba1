"""Run a command and write down what it cost: `python -I -S timed.py FIGURES.json PROGRAM ARGUMENT...`.

A process of its own, and a small one, since the peak memory that the system tells of a child is never below that of
the process which started it. It imports nothing of diarist. The exit code is the command's; 128 and more is a signal.
"""

import json
import os
import subprocess
import sys
import time


def main(figures: str, *words: str) -> int:
    """Run, measure, write `{"wall", "cpu", "peak"}`: seconds, seconds, bytes of the command and those it waited for."""
    begun = time.perf_counter()
    try:
        process = subprocess.Popen(words)
    except OSError as error:
        print(f"{words[0]}: {error.strerror}", file=sys.stderr)
        return 127
    cost: dict[str, float | None] = {"cpu": None, "peak": None}
    if hasattr(os, "wait4"):
        _, status, used = os.wait4(process.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        cost = {
            "cpu": used.ru_utime + used.ru_stime,
            "peak": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        }
    else:
        code = process.wait()
    with open(figures, "w", encoding="utf-8") as file:  # noqa: PTH123 - pathlib would double the size of this process
        json.dump({"wall": time.perf_counter() - begun, **cost}, file)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
