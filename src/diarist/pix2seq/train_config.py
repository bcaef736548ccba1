"""What a training file says of its data and of its steps."""

from __future__ import annotations

from dataclasses import dataclass

from diarist.core.config import option


@dataclass(frozen=True)
class DataConfig:
    """What is heard in training."""

    min_speakers: int = option(1, "least speakers of a conversation", low=1)
    max_speakers: int = option(4, "most speakers of a conversation", low=1)


@dataclass(frozen=True)
class TrainConfig:
    """How the network learns."""

    seed: int = option(42, "of all random numbers", low=0)
    learning_rate: float = option(1e-3, "the highest, after the warm-up", low=0.0)
    weight_decay: float = option(0.1, "of AdamW, of matrices only", low=0.0)
