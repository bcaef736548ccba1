"""Strict mode equals WhisperX's own `assign_word_speakers`, whose source is read from an installed package or from the
folders (unpacked wheels) that `DIARIST_WHISPERX` names, parted by `:`; nothing of it is imported."""

from __future__ import annotations

import ast
import copy
import importlib.util
import inspect
import os
import random
from pathlib import Path

import numpy as np
import pytest

from diarist.words.whisperx_dicts import assign_word_speakers

pandas = pytest.importorskip("pandas")
NUM_CASES = 300


def sources() -> list[Path]:
    folders = [Path(folder) for folder in os.environ.get("DIARIST_WHISPERX", "").split(":") if folder]
    spec = importlib.util.find_spec("whisperx")
    folders += [Path(place).parent for place in (spec.submodule_search_locations or ())] if spec else []
    return [file for folder in folders if (file := folder / "whisperx" / "diarize.py").is_file()]


def original(path):
    """The function as published, which rules it follows, and whether it takes embeddings (3.3 did not)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wanted = [node for node in tree.body if getattr(node, "name", "") in ("IntervalTree", "assign_word_speakers")]
    future = ast.parse("from __future__ import annotations").body
    names = {"np": np, "pd": pandas, "List": None, "Optional": None, "Tuple": None, "Union": None}
    exec(compile(ast.Module([*future, *wanted], []), str(path), "exec"), names)
    function = names["assign_word_speakers"]
    takes = "speaker_embeddings" in inspect.signature(function).parameters
    return (
        function if takes else lambda df, t, _, fill: function(df, t, fill),
        "3.8" if len(wanted) == 2 else "3.7",
        takes,
    )


def case(seed):
    """Turns and a transcript; every other one on a grid of 0.1 s, so that ties and touching edges are common."""
    rng = random.Random(seed)

    def time(value):
        return round(value, 1) if seed % 2 else value

    length = rng.choice([2, 10, 60])
    turns = []
    for _ in range(rng.randrange(13)):
        start = rng.uniform(0, length)
        turns.append((time(start), time(start + rng.uniform(0.1, 5)), f"S{rng.randrange(4)}"))
    segments = []
    for _ in range(rng.randrange(6)):
        start = rng.uniform(0, length)
        words = []
        for _ in range(rng.randrange(6)):
            at = rng.uniform(0, length)
            words.append({"word": "w", "start": time(at), "end": time(at + rng.choice([0, 0.1, 0.5, rng.random()]))})
        if words and rng.random() < 0.2:
            del words[0]["start"]
        segment = {"start": time(start), "end": time(start + rng.uniform(0, 3)), "text": "t"}
        segments.append({**segment, "words": words} if rng.random() < 0.8 else segment)
    return pandas.DataFrame(turns, columns=["start", "end", "speaker"]), {"segments": segments, "language": "en"}


@pytest.mark.skipif(not sources(), reason="no source of WhisperX (set DIARIST_WHISPERX to an unpacked wheel)")
@pytest.mark.parametrize("path", sources(), ids=str)
@pytest.mark.parametrize("fill_nearest", [False, True])
def test_strict_equals_whisperx(path, fill_nearest):
    theirs, rules, takes_embeddings = original(path)
    for seed in range(NUM_CASES):
        frame, transcript = case(seed)
        embeddings = {"S0": [1.0]} if takes_embeddings and seed % 3 == 0 else None
        expected = theirs(frame.copy(), copy.deepcopy(transcript), embeddings, fill_nearest)
        given = copy.deepcopy(transcript)
        assert assign_word_speakers(frame, given, embeddings, fill_nearest, strict=rules) == expected, seed
        assert given == transcript


@pytest.mark.skipif(not sources(), reason="no source of WhisperX (set DIARIST_WHISPERX to an unpacked wheel)")
@pytest.mark.parametrize("path", [path for path in sources() if original(path)[1] == "3.8"], ids=str)
def test_words_without_end_as_in_whisperx(path):
    theirs, _, _ = original(path)
    frame = pandas.DataFrame([(0.0, 5.0, "A")], columns=["start", "end", "speaker"])
    transcript = {"segments": [{"text": "t", "words": [{"word": "a", "start": 1.0}, {"word": "b"}]}]}
    for fill in (False, True):
        expected = theirs(frame.copy(), copy.deepcopy(transcript), None, fill)
        assert assign_word_speakers(frame, transcript, None, fill, strict=True) == expected
