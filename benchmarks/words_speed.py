"""Seconds that it takes to give 30,000 words (three hours) their speakers out of 5,000 turns, on one core.

    python benchmarks/words_speed.py

Times are CPU seconds, the best of five. WhisperX's own function is timed too where its source is at hand
(`DIARIST_WHISPERX`, see tests/parity/test_parity_words.py).
"""

from __future__ import annotations

import ast
import copy
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from diarist.core.types import Diarization, Transcript, Turn, Utterance, Word
from diarist.words.assign import choose
from diarist.words.transcript import assign
from diarist.words.whisperx_dicts import assign_word_speakers

NUM_WORDS, NUM_TURNS, SECONDS, PER_SEGMENT = 30_000, 5_000, 10_800, 12


def main() -> None:
    rng = np.random.default_rng(0)
    starts = np.sort(rng.uniform(0, SECONDS, NUM_WORDS)).tolist()
    begins = np.sort(rng.uniform(0, SECONDS, NUM_TURNS)).tolist()
    turns = Diarization(tuple(Turn(s, s + rng.uniform(0.3, 4), f"SPEAKER_{rng.integers(6):02d}") for s in begins))
    words = [Word("word." if n % 10 == 9 else "word", s, s + 0.3) for n, s in enumerate(starts)]
    groups = [tuple(words[at : at + PER_SEGMENT]) for at in range(0, NUM_WORDS, PER_SEGMENT)]
    transcript = Transcript(tuple(Utterance("", g[0].start, g[-1].end, words=g) for g in groups))
    document = {
        "segments": [
            {
                "start": g[0].start,
                "end": g[-1].end,
                "text": "",
                "words": [{"word": w.text, "start": w.start, "end": w.end, "score": 0.9} for w in g],
            }
            for g in groups
        ]
    }
    frame = turns.to_dataframe()
    everywhere = [Turn(0.0, float(SECONDS), f"S{n}") for n in range(20)] + list(turns)
    print(f"{NUM_WORDS} words, {NUM_TURNS} turns")
    show("choose", lambda: choose(starts, [s + 0.3 for s in starts], turns.turns))
    show("choose, 20 turns of three hours more", lambda: choose(starts, [s + 0.3 for s in starts], everywhere))
    show("assign(Transcript)", lambda: assign(transcript, turns))
    show("assign(Transcript, sentences=True)", lambda: assign(transcript, turns, sentences=True))
    show("assign_word_speakers", lambda: assign_word_speakers(frame, document, fill_nearest=True))
    show("assign_word_speakers, strict 3.8", lambda: assign_word_speakers(frame, document, None, True, strict="3.8"))
    show("assign_word_speakers, strict 3.7", lambda: assign_word_speakers(frame, document, None, True, strict="3.7"))
    for folder in filter(None, os.environ.get("DIARIST_WHISPERX", "").split(":")):
        theirs, is_new = _original(Path(folder) / "whisperx" / "diarize.py")
        if is_new:  # the older ones take a quarter of an hour
            show("WhisperX 3.8.6 itself", lambda f=theirs: f(frame, copy.deepcopy(document), None, True), times=1)


def show(name: str, function: Callable[[], object], times: int = 5) -> None:
    best = float("inf")
    for _ in range(times):
        begun = time.process_time()
        function()
        best = min(best, time.process_time() - begun)
    print(f"{name:38s} {best:7.3f} s")


def _original(path: Path) -> tuple[Callable[..., object], bool]:
    import pandas

    wanted = [
        node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if getattr(node, "name", "") in ("IntervalTree", "assign_word_speakers")
    ]
    module = ast.Module([*ast.parse("from __future__ import annotations").body, *wanted], [])
    names = {"np": np, "pd": pandas, "List": None, "Optional": None, "Tuple": None, "Union": None}
    exec(compile(module, str(path), "exec"), names)
    return names["assign_word_speakers"], len(wanted) == 2  # type: ignore[return-value]


if __name__ == "__main__":
    main()
