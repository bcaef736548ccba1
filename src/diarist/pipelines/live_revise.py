"""Revision: while a stream runs, its session is clustered anew, and what it knows of its speakers is put right.

The clustering runs in a thread of its own. What it finds is taken over `HANDOVER` seconds of sound later, however fast
or slow the thread was, so that the answer does not depend on the clock. It sees at most `ROWS` embeddings: its cost
does not grow with the session.
"""

from __future__ import annotations

from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np

from diarist.core.time import Axis
from diarist.core.types import Float32, Float64, Int64, SpeakerBounds
from diarist.pipelines.cluster import Clustering, Clusters
from diarist.pipelines.frontend import Evidence
from diarist.pipelines.live_session import Session, times, window_rows
from diarist.pipelines.threads import single_threaded_algebra
from diarist.stages.assign import unit
from diarist.stages.summary import joined, merged

HANDOVER = 2.0  # seconds
ROWS = 400


@dataclass(frozen=True)
class Found:
    """A session clustered anew: the cluster of each window `(num_windows,)`, and the sum of the unit embeddings of each
    cluster `(num_clusters, dimension)`."""

    labels: Int64
    sums: Float64


@dataclass
class Revision:
    """A clustering under way, to be taken over at sample `due`."""

    due: int
    found: Future[Found]

    @classmethod
    def done(cls, due: int, labels: Int64, sums: Float64) -> Revision:
        """One that has ended."""
        found: Future[Found] = Future()
        found.set_result(Found(labels, sums))
        return cls(due, found)


def begin(
    session: Session, clustering: Clustering, maps: Axis, pool: Executor, now: int, bounds: SpeakerBounds
) -> Revision:
    """Cluster a session as it is now, at sample `now`, in a thread of `pool`."""
    num = len(session.rows)
    sums, sizes, row_of = session.rows.sums[:num].copy(), session.rows.sizes[:num], window_rows(session)
    middles = times(session, maps)

    def found() -> Found:
        small, row = sums, row_of
        if num > ROWS:
            owner = merged(sums, sizes, ROWS)
            small, row = joined(sums, sizes, owner)[0], owner[row_of]
        with single_threaded_algebra():
            clusters, labels = cluster_rows(small, row, middles, clustering, bounds)
        total = np.zeros((len(clusters.voices), small.shape[1]))
        np.add.at(total, clusters.labels, small)
        return Found(labels, total)

    return Revision(now + round(HANDOVER * maps.sample_rate), pool.submit(found))


def cluster_rows(
    sums: Float32, row_of: Int64, middles: Float64, clustering: Clustering, bounds: SpeakerBounds
) -> tuple[Clusters, Int64]:
    """The clusters of rows `sums` `(num_rows, dimension)`, and the label of each window, which stands in row `row_of`
    `(num_windows,)` and has its middle at `middles` seconds."""
    number = np.maximum(np.bincount(row_of, minlength=len(sums)), 1)
    unused = Axis(1, 1)
    evidence = Evidence(
        num_samples=0,
        local=np.zeros((0, 0), np.uint8),
        num_local=0,
        chunks=unused,
        frames=unused,
        speech=np.zeros(0, np.float32),
        count=np.zeros(0, np.uint8),
        embeddings=unit(sums).astype(np.float32),
        times=np.bincount(row_of, weights=middles, minlength=len(sums)) / number,
        owners=np.full((len(sums), 2), -1, np.int64),
        voices={},
    )
    clusters = clustering(evidence, bounds)
    return clusters, clusters.labels[row_of]
