"""How many live streams does a server carry?

    python benchmarks/server_load.py recording.wav --streams 10 20 30 40 50 60 --seconds 60 --cores 0,1

starts `diarist serve` in a process of its own, on the cores given, and sends it so many streams in real time, 100 ms a
message, each from another place in the recordings. The lag of an update is the time from sending the last sample that
it speaks of to receiving it; those of the first `--warm-up` seconds do not count. A number of streams is carried where
99 of 100 lags are below half a second. The sender runs beside the server and takes some of the machine too: where the
server's cores are all there are, its figures are too low rather than too high.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from diarist.audio.decode import load
from machine import describe

RATE = 16_000
BLOCK = RATE // 10
GOOD = 0.5  # seconds


class Served:
    """A server process."""

    def __init__(self, cores: str | None, options: list[str]) -> None:
        command = [sys.executable, "-m", "diarist.cli.main", "serve", "--port", "0", "--max-sessions", "4096", *options]
        if cores is not None and shutil.which("taskset"):
            command = ["taskset", "-c", cores, *command]
        self._log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stderr=self._log, stdout=self._log)
        self.url = self._address()
        self.web = re.sub(r"^ws(.*)/v1/stream$", r"http\1", self.url)

    def _address(self) -> str:
        for _ in range(1200):
            self._log.seek(0)
            text = self._log.read()
            if found := re.search(r"listening on (\S+)", text):
                return found.group(1)
            if self.process.poll() is not None:
                raise SystemExit(f"the server did not start: {text}")
            time.sleep(0.1)
        raise SystemExit("the server did not start in two minutes")

    @property
    def memory(self) -> float:
        """Resident, in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024  # type: ignore[union-attr]

    @property
    def cpu(self) -> float:
        """Seconds of all cores so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metric(self, name: str) -> float:
        text = urllib.request.urlopen(f"{self.web}/metrics").read().decode()
        return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE).group(1))  # type: ignore[union-attr]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


async def stream(
    url: str, samples: np.ndarray, begin: int, seconds: float, hello: dict[str, Any]
) -> list[tuple[float, float]]:
    """One client, in real time: `(until, lag)` of each update."""
    from websockets.asyncio.client import connect

    sent_at: list[float] = []  # when block i was sent
    lags: list[tuple[float, float]] = []
    async with connect(url, max_size=None, compression=None, proxy=None) as socket:
        await socket.send(json.dumps({"type": "hello", "version": 1, **hello}))
        await socket.recv()

        async def listen() -> None:
            async for text in socket:
                now, message = time.monotonic(), json.loads(text)
                if message["type"] == "update" and message["session"] is None:
                    block = int(np.ceil(round(message["until"] * RATE) / BLOCK)) - 1
                    lags.append((message["until"], now - sent_at[block]))

        listening = asyncio.ensure_future(listen())
        start = time.monotonic()
        for number in range(int(seconds * RATE / BLOCK)):
            await asyncio.sleep(max(0.0, start + (number + 1) * BLOCK / RATE - time.monotonic()))
            at = (begin + number * BLOCK) % (len(samples) - BLOCK)
            sent_at.append(time.monotonic())
            await socket.send(samples[at : at + BLOCK].tobytes())
        await socket.send('{"type": "end"}')
        await asyncio.wait_for(listening, 120)
    return lags


async def load_of(served: Served, samples: np.ndarray, number: int, args: argparse.Namespace) -> dict[str, Any]:
    """`number` streams at once."""
    rng = random.Random(number)

    async def one() -> list[tuple[float, float]]:
        await asyncio.sleep(rng.random())  # nobody begins at the same moment
        return await stream(served.url, samples, rng.randrange(len(samples) - BLOCK), args.seconds, args.hello)

    memory, cpu, begun = served.memory, served.cpu, time.monotonic()
    steps, passes = served.metric("diarist_steps_total"), served.metric("diarist_batch_size_count")
    measuring = asyncio.ensure_future(asyncio.to_thread(_peak, served, args.seconds))
    lags = [
        lag
        for lags in await asyncio.gather(*(one() for _ in range(number)))
        for until, lag in lags
        if until > args.warm_up
    ]
    wall = time.monotonic() - begun
    steps, passes = served.metric("diarist_steps_total") - steps, served.metric("diarist_batch_size_count") - passes
    p50, p95, p99 = np.percentile(lags, [50, 95, 99])
    return {
        "streams": number,
        "p50": round(p50, 3),
        "p95": round(p95, 3),
        "p99": round(p99, 3),
        "worst": round(max(lags), 3),
        "steps_a_pass": round(steps / passes, 1),
        "cores_busy": round((served.cpu - cpu) / wall, 2),
        "ms_a_step": round(1000 * (served.cpu - cpu) / steps, 1),
        "memory_mb": round(await measuring),
        "mb_a_stream": round((await measuring - memory) / number, 2),
        "carried": bool(p99 < GOOD),
    }


def _peak(served: Served, seconds: float) -> float:
    """The most memory while streams run."""
    peak, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        peak = max(peak, served.memory)
        time.sleep(0.5)
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", nargs="+", type=Path)
    parser.add_argument("--streams", nargs="+", type=int, default=[10, 20, 30, 40, 50, 60])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each stream")
    parser.add_argument("--warm-up", type=float, default=10.0)
    parser.add_argument("--cores", help="of the server, as taskset has them: 0,1")
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--hello", type=json.loads, default={}, help="what clients ask for, as JSON")
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    args, options = parser.parse_known_args()
    sound = np.concatenate([load(path).samples for path in args.audio])
    samples = np.clip(sound * 32767, -32768, 32767).astype("<i2")
    served = Served(args.cores, ["--preset", args.preset, *options])
    rows: list[dict[str, Any]] = []
    try:
        asyncio.run(load_of(served, samples, 2, argparse.Namespace(**{**vars(args), "seconds": 12.0, "warm_up": 0.0})))
        for number in args.streams:
            rows.append(asyncio.run(load_of(served, samples, number, args)))
            print(json.dumps(rows[-1]), flush=True)
    finally:
        served.stop()
    best = max((row["streams"] for row in rows if row["carried"]), default=0)
    print(f"carried with 99 % of lags below {GOOD} s: {best} streams")
    if args.output is not None:
        figures = {"machine": describe(), "cores": args.cores, "preset": args.preset, "options": options, "rows": rows}
        args.output.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
