"""One stream: what it remembers, and how it takes a step."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diarist.audio.mixing import ABSURD
from diarist.core.config import fingerprint, replace_from
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization, Float32, Int64, SpeakerBounds, Turn, Update
from diarist.errors import UsageError
from diarist.pipelines import live_revise, presets
from diarist.pipelines.cluster import Clustering, clustering_of
from diarist.pipelines.live_answer import pieces, whole
from diarist.pipelines.live_config import LiveConfig
from diarist.pipelines.live_listen import Ears, Look, Sound
from diarist.pipelines.live_networks import SPEECH, Networks
from diarist.pipelines.live_revise import Revision
from diarist.pipelines.live_session import Recorder, Said, Session
from diarist.pipelines.live_state import pack, ragged, split, unpack
from diarist.pipelines.live_vad import Opinion
from diarist.pipelines.threads import single_threaded_algebra
from diarist.pipelines.workers import Workers
from diarist.stages.aggregate import Heard, aggregate
from diarist.stages.assign import NOBODY
from diarist.stages.online import Known, Thresholds, assign, revise

PIECE = 64  # columns of a restored stream's pools that are dropped together


class Parts:
    """What all streams of a `LiveDiarizer` share: networks, geometry, clustering."""

    def __init__(self, config: LiveConfig, networks: Networks, offline: bool) -> None:
        segmentation, embedding = networks.segmentation, networks.embedding
        self.config = config
        self.own = list(networks.own)
        self.ears = Ears(config, segmentation, embedding, networks.vad)
        self.frames, self.maps = self.ears.frames, self.ears.maps
        self.num_local = segmentation.spec.num_local
        # the PLDA that ships goes with the network that it was fitted on
        model = networks.own[1] or config.embedding.model
        self.offline = replace_from(presets.resolve(), {"embedding.model": model, "segmentation.step": config.evidence})
        self.recorder = Recorder(self.offline, self.ears)
        self.dimension = 0 if embedding is None else embedding.spec.dimension
        self.clustering: Clustering | None = None
        if embedding is not None:
            self.clustering = clustering_of(self.offline, self.dimension, offline=offline)
        least = config.least_new * SAMPLE_RATE / self.frames.step
        self.thresholds = Thresholds(config.tau_active, config.rho_update, config.delta_new, config.max_speakers, least)
        self.bounds = SpeakerBounds(most=config.max_speakers)
        self._workers = Workers(1, "diarist-revision")

    @property
    def speech_only(self) -> bool:
        """Nobody is told apart."""
        return self.dimension == 0

    @property
    def fingerprint(self) -> str:
        """Sixteen digits that change with anything that changes the answer."""
        return fingerprint(self.config, self.offline, {"speech": self.speech_only, "own": self.own})

    def label(self, name: int) -> str:
        """`speaker0`, `speaker1`, ... as diart has them, or `speech`."""
        return SPEECH if self.speech_only else f"speaker{name}"

    @property
    def pool(self) -> ThreadPoolExecutor:
        """The thread in which sessions are clustered anew."""
        return self._workers.pool()


class Stream:
    """One stream of sound. Made by `LiveDiarizer.start()`; use from one thread at a time."""

    def __init__(self, parts: Parts, uri: str) -> None:
        self.uri, self.parts = uri, parts
        self._waiting: list[Float32] = []
        self._num_waiting = 0
        self._sound = parts.ears.start()
        self._known = Known.nobody(parts.dimension)
        self._looks: list[Heard] = []
        self._settled = 0
        self._said = Said()
        self._session = Session.start(parts.config.rows, parts.dimension)
        self._revision: Revision | None = None
        self._next_revision = round(parts.config.recluster * SAMPLE_RATE)
        self._finished = False

    @property
    def waiting(self) -> int:
        """How many steps are ready to be taken."""
        return self._num_waiting // self.parts.config.step_samples

    def feed(self, samples: Float32) -> None:
        """Take samples `(num_samples,)`, float and mono at 16 kHz, without working on them.

        Raises `UsageError` for anything else, for samples that are not finite, and once the stream is finished; nothing
        of a block that is refused is kept.
        """
        if self._finished:
            raise UsageError(f"the stream '{self.uri}' is finished: start another one")
        block = checked(samples)
        if len(block):
            self._waiting.append(block)
            self._num_waiting += len(block)

    def push(self, samples: Float32) -> Update:
        """Take samples and all the steps that are ready; their updates as one. Raises as `feed()` does."""
        self.feed(samples)
        return self._catch_up()

    def finish(self) -> Update:
        """The rest of the stream: last finals, and the whole session clustered anew. Nothing can follow.

        Raises `UsageError` the second time.
        """
        if self._finished:
            raise UsageError(f"the stream '{self.uri}' is finished already")
        updates = [self._catch_up()]
        self._finished = True
        if self._num_waiting:
            updates.append(step([self], self._num_waiting)[0])
        final, _ = self._answer(self._sound.heard)
        seconds = self._sound.heard / SAMPLE_RATE
        updates.append(Update(tuple(final), (), seconds, seconds))
        with single_threaded_algebra():
            self.parts.recorder.close(self._session, self._sound, self._said)
            session = whole(self._session, self._known, self.parts, seconds, self.uri)
        return dataclasses.replace(merged(updates), session=session)

    def snapshot(self) -> Diarization:
        """All that has been heard so far, clustered anew. The stream goes on as if nothing had happened."""
        session = copy.deepcopy(self._session)
        sound = dataclasses.replace(self._sound, pools=list(self._sound.pools))  # the rest is replaced, not changed
        with single_threaded_algebra():
            self.parts.recorder.close(session, sound, self._said)
            return whole(session, self._known, self.parts, sound.heard / SAMPLE_RATE, self.uri)

    def state(self) -> bytes:
        """Everything that the stream remembers, for `LiveDiarizer.restore()`. Raises `UsageError` once finished."""
        if self._finished:
            raise UsageError(f"the stream '{self.uri}' is finished: it has no state to go on from")
        sound, session, known, revision = self._sound, self._session, self._known, self._revision
        facts = {
            "uri": self.uri,
            "settled": self._settled,
            "first_said": self._said.first,
            "born": known.born,
            "sound": [sound.heard, sound.num_features, sound.first_map, sound.first_pool],
            "num_odds": 0 if sound.opinion is None else sound.opinion.num,
            "looks": [look.first for look in self._looks],
            "next_revision": self._next_revision,
            "due": None if revision is None else revision.due,
            "session": session.facts(),
        }
        scores, num_scores = ragged([look.scores for look in self._looks], np.float32)
        arrays = {
            "waiting": np.concatenate([np.zeros(0, np.float32), *self._waiting]),
            "samples": sound.samples,
            "features": sound.features,
            "maps": sound.maps,
            "pools": np.concatenate(sound.pools, axis=2) if sound.pools else np.zeros((0, 0, 0), np.float32),
            "centres": known.centres,
            "names": known.names,
            "scores": scores,
            "num_scores": num_scores,
            "look_names": np.array([look.names for look in self._looks], np.int64),
            "said": self._said.names,
            **session.arrays(),
        }
        if sound.opinion is not None:
            context, hidden = sound.opinion.state
            arrays |= {"odds": sound.opinion.odds, "vad_context": context, "vad_hidden": hidden}
        if revision is not None:
            found = revision.found.result()
            arrays |= {"found_labels": found.labels, "found_sums": found.sums}
        return pack(facts, arrays, self.parts.fingerprint)

    @classmethod
    def restored(cls, parts: Parts, state: bytes) -> Stream:
        """The stream that gave this state. Raises `UsageError` for any that does not fit."""
        facts, arrays = unpack(state, parts.fingerprint)
        stream = cls(parts, str(facts["uri"]))
        stream._settled, stream._next_revision = facts["settled"], facts["next_revision"]
        stream._waiting = [arrays["waiting"]] if len(arrays["waiting"]) else []
        stream._num_waiting = len(arrays["waiting"])
        pools = pieces_of(arrays["pools"])
        opinion = None
        if "odds" in arrays:
            opinion = Opinion(arrays["odds"], facts["num_odds"], (arrays["vad_context"], arrays["vad_hidden"]))
        stream._sound = Sound(arrays["samples"], arrays["features"], arrays["maps"], pools, opinion, *facts["sound"])
        stream._known = Known(arrays["centres"], arrays["names"], facts["born"])
        scores = split(arrays["scores"], arrays["num_scores"])
        stream._looks = [
            Heard(first, flat.reshape(-1, len(names)), names)
            for first, flat, names in zip(facts["looks"], scores, arrays["look_names"], strict=True)
        ]
        stream._said = Said(arrays["said"], facts["first_said"])
        stream._session = Session.restored(facts["session"], arrays)
        if facts["due"] is not None:
            stream._revision = Revision.done(facts["due"], arrays["found_labels"], arrays["found_sums"])
        return stream

    def _catch_up(self) -> Update:
        updates = [Update((), (), self._sound.heard / SAMPLE_RATE, self._settled / SAMPLE_RATE)]
        while self.waiting:
            updates += step([self])
        return merged(updates)

    def _take(self, num_samples: int) -> Float32:
        """The next samples that wait, fewer at the end."""
        taken: list[Float32] = []
        while num_samples and self._waiting:
            block = self._waiting[0]
            taken.append(block[:num_samples])
            num_samples -= len(taken[-1])
            if len(taken[-1]) < len(block):
                self._waiting[0] = block[len(taken[-1]) :]
            else:
                self._waiting.pop(0)
        joined = np.concatenate(taken)
        self._num_waiting -= len(joined)
        return joined

    def _hear(self, look: Look) -> Update:
        """Name the speakers of a look, and say what that changes."""
        parts, config, now = self.parts, self.parts.config, self._sound.heard
        renamed = self._take_over() if self._revision is not None and now >= self._revision.due else {}
        if parts.speech_only:
            heard = Heard(look.first, look.speech[:, None], np.zeros(1, np.int64))
        else:
            self._known, names = assign(self._known, look.activity, look.voices, parts.thresholds)
            heard = Heard(look.first, look.activity, names)
        self._looks = [*self._looks, heard][-config.num_windows :]
        settled = max(self._settled, now - (config.num_windows - 1) * config.step_samples)
        final, tentative = self._answer(settled)
        parts.recorder.add(self._session, self._sound, self._said)
        self._begin_revision(now)
        return Update(tuple(final), tuple(tentative), now / SAMPLE_RATE, settled / SAMPLE_RATE, renamed)

    def _begin_revision(self, now: int) -> None:
        parts = self.parts
        if parts.clustering is None or not parts.config.recluster or self._revision or now < self._next_revision:
            return
        self._next_revision = now + round(parts.config.recluster * SAMPLE_RATE)
        if len(self._session.rows):
            self._revision = live_revise.begin(
                self._session, parts.clustering, parts.maps, parts.pool, now, parts.bounds
            )

    def _take_over(self) -> dict[str, str]:
        """Put right what is known of the speakers; who has turned out to be whom."""
        assert self._revision is not None
        found, self._revision = self._revision.found.result(), None
        said = np.array(self._session.said[: len(found.labels)], np.int64)
        self._known, gone = revise(self._known, said, found.labels, found.sums, self.parts.config.max_speakers)
        if gone:
            self._session.rename(gone)
            self._said.rename(gone)
            self._looks = [Heard(look.first, look.scores, renumbered(look.names, gone)) for look in self._looks]
        return {self.parts.label(old): self.parts.label(new) for old, new in gone.items()}

    def _answer(self, settled: int) -> tuple[list[Turn], list[Turn]]:
        """Turns that are settled now, up to sample `settled`, and those after them."""
        parts, config = self.parts, self.parts.config
        begin, middle, end = (parts.ears.frame_at(at) for at in (self._settled, settled, self._sound.heard))
        scores, names = aggregate(self._looks, begin, end, config.aggregation)
        labels = [parts.label(name) for name in names]
        cut, tau, frames = middle - begin, config.tau_active, parts.frames
        final = pieces(scores[:cut], labels, tau, frames, begin, (self._settled, settled))
        tentative = pieces(scores[cut:], labels, tau, frames, middle, (settled, self._sound.heard))
        loudest = np.full(cut, NOBODY, np.int32)
        if len(names) and cut:
            loudest[:] = np.where(scores[:cut].max(axis=1) > tau, names[scores[:cut].argmax(axis=1)], NOBODY)
        self._said.add(begin, loudest)
        self._settled = settled
        return final, tentative


def step(streams: Sequence[Stream], num_samples: int | None = None) -> list[Update]:
    """One step of each stream, all in one forward pass; a shorter one of `num_samples` at the end."""
    parts = streams[0].parts
    blocks = [stream._take(num_samples or parts.config.step_samples) for stream in streams]
    with single_threaded_algebra():
        looks = parts.ears.look([stream._sound for stream in streams], blocks)
        return [stream._hear(look) for stream, look in zip(streams, looks, strict=True)]


def merged(updates: Sequence[Update]) -> Update:
    """Updates that follow each other as one."""
    renamed: dict[str, str] = {}
    for update in updates:
        renamed = {old: update.renamed.get(new, new) for old, new in renamed.items()} | dict(update.renamed)
    final = tuple(turn for update in updates for turn in update.final)
    return dataclasses.replace(updates[-1], final=final, renamed=renamed)


def pieces_of(pools: Float32) -> list[Float32]:
    """Columns `(1, channels, num)` in small parts, each of which is dropped once it is old."""
    num = pools.shape[2]
    return [pools[:, :, at : at + PIECE].copy() for at in range(0, num, PIECE)] if pools.size else []


def renumbered(names: Int64, gone: dict[int, int]) -> Int64:
    """Numbers `(n,)` with those in `gone` replaced."""
    names = names.copy()
    for old, new in gone.items():
        names[names == old] = new
    return names


def checked(samples: Any) -> Float32:
    """Samples as they should be. Raises `UsageError` for any other."""
    try:
        block: NDArray[Any] = np.asarray(samples)
    except ValueError:
        raise UsageError("a stream takes samples as one array of floats, not lists of different lengths") from None
    if block.ndim != 1:
        raise UsageError(f"a stream takes mono samples of the shape (num_samples,), not {block.shape}")
    if block.dtype.kind != "f":
        raise UsageError(f"a stream takes samples as floats in [-1, 1], not {block.dtype}: divide 16-bit ones by 32768")
    peak = max(float(block.max()), -float(block.min())) if len(block) else 0.0  # NaN where there is one
    if not np.isfinite(peak):
        raise UsageError("the samples hold NaN or infinity: a stream takes finite numbers only")
    if peak > ABSURD:
        raise UsageError(f"the samples reach {peak:.3g}, which is no sound: a stream takes floats in [-1, 1]")
    return np.array(block, dtype=np.float32)
