"""What a Pix2Seq model is, how it is asked, and what a training file says.

`AudioSpec` is what a front end promises the model; everything else is a frozen dataclass read by `core.config`, so an
unknown key is an error that names the nearest one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from diarist.core.config import option
from diarist.pix2seq.train_config import DataConfig, TrainConfig

CHECKPOINT = "frames"  # the network that ships with diarist
AROUND = 2.0
FRONTENDS = ("frames", "mel", "dac", "dac-codes")


@dataclass(frozen=True)
class AudioSpec:
    """What a front end gives: vectors of `channels` values, one each `step` seconds, the first of them centred at
    `first` seconds. With `codes` set, they are `channels` whole numbers below `codes` each (one for every codebook)."""

    channels: int
    step: float
    first: float = 0.0
    codes: int = 0


@dataclass(frozen=True)
class ModelConfig:
    """What the network is. The default has 5 million parameters."""

    frontend: str = option("frames", "what the network hears", choices=FRONTENDS)
    around: float = option(AROUND, "seconds of sound that a voice is told from (frames)", low=0.1, high=60.0)
    max_seconds: float = option(30.0, "seconds of sound that the network hears at once", low=1.0, high=600.0)
    time_step: float = option(0.02, "seconds between two time tokens", low=0.001, high=1.0)
    num_speakers: int = option(8, "labels there are: the most speakers in one window", low=1, high=64)
    layers: int = option(6, "transformer blocks", low=1, high=96)
    d_model: int = option(256, "width of the transformer", low=8, high=8192)
    heads: int = option(4, "attention heads; the width is a multiple of them", low=1, high=128)
    dropout: float = option(0.0, "share of values dropped in training", low=0.0, high=0.9)
    bias: bool = option(False, "whether linear layers and norms have a bias")
    frequencies: int = option(64, "sinusoids that tell a time", low=1, high=1024)
    activity: bool = option(
        True, "audio tokens also learn who of the speakers, in order of appearance, talks in them (training only)"
    )


@dataclass(frozen=True)
class PromptConfig:
    """How the windows of a long recording hang together: the speakers known so far talk in front of each."""

    seconds: float = option(
        5.0, "seconds of each known speaker in front of a window; 0: windows only share a stretch", low=0.0, high=60.0
    )
    silence: float = option(0.2, "seconds of silence after each of them", low=0.0, high=5.0)
    share: float = option(
        0.5, "largest share of the window for known speakers; more speakers get less each", low=0.05, high=0.9
    )
    least: float = option(
        1.0, "a speaker of whom fewer seconds were heard alone is not put in front", low=0.1, high=60.0
    )
    overlap: float = option(2.0, "seconds that two windows share; in their middle one takes over", low=0.0, high=60.0)


@dataclass(frozen=True)
class DecodeConfig:
    """How tokens are chosen. Whatever the method, only those that the grammar allows."""

    method: str = option("greedy", "how tokens are chosen", choices=("greedy", "sample", "beam"))
    temperature: float = option(1.0, "below 1 the likely tokens become likelier (sample)", low=0.01, high=10.0)
    top_k: int = option(0, "only so many of the likeliest tokens; 0 for all (sample)", low=0)
    top_p: float = option(1.0, "only the likeliest tokens that make up this probability (sample)", low=0.0, high=1.0)
    beams: int = option(4, "sequences kept at each step (beam)", low=1, high=64)
    seed: int = option(0, "of the random numbers (sample)", low=0)
    activity: float = option(
        1.0, "weight of what the audio tokens alone say of who talks, in choosing a turn's speaker", low=0.0, high=10.0
    )
    speech: float = option(
        0.5, "a turn in which the front end hears less speech is dropped, where it says so (frames)", low=0.0, high=1.0
    )
    together: int = option(2, "at most so many speakers talk at once", low=1, high=64)
    max_turns: int = option(
        120, "at most so many turns in a window, those of known speakers included", low=1, high=2000
    )


@dataclass(frozen=True)
class Pix2SeqConfig:
    """Everything that changes the answer of the `pix2seq` engine."""

    checkpoint: str = option(CHECKPOINT, "name of a shipped Pix2Seq network, or a file that `diarist train` wrote")
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)


@dataclass(frozen=True)
class Config:
    """A training file: `[model]`, `[data]` and `[train]`."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
