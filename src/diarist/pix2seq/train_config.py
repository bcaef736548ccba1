"""What a training file says of its examples (`[data]`) and of the training (`[train]`)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from diarist.core.config import option
from diarist.errors import ConfigError
from diarist.simulate.config import SimulationConfig, check_range


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to a recording before it is heard: each with a chance of its own."""

    speed: float = option(0.3, "chance that it is played faster or slower", low=0.0, high=1.0)
    speeds: tuple[float, ...] = option((0.85, 1.18), "how many times as fast (range)")
    levels: float = option(0.2, "chance that its level goes up and down", low=0.0, high=1.0)
    swing: tuple[float, ...] = option((0.1, 0.6), "by how much, of the level (range)")
    noise: float = option(0.0, "chance of noise", low=0.0, high=1.0)
    snr: tuple[float, ...] = option((5.0, 25.0), "level of the recording over the noise, dB (range)")
    room: float = option(0.0, "chance of a room", low=0.0, high=1.0)
    rt60: tuple[float, ...] = option((0.2, 0.7), "reverberation time, seconds (range)")
    phone: float = option(0.0, "chance of a telephone band", low=0.0, high=1.0)

    def __post_init__(self) -> None:
        check_range(self, "speeds", 0.5, 2.0)
        check_range(self, "swing", 0.0, 0.95)
        check_range(self, "snr", -30.0, 100.0)
        check_range(self, "rt60", 0.05, 2.0)


@dataclass(frozen=True)
class DataConfig:
    """Where examples come from: conversations simulated as they are needed, and real recordings mixed in.

    Conversation `i` depends on `train.seed`, on `i` and on nothing else; examples are windows of conversations. `reuse`
    examples are drawn for each conversation that is made, from all that have been made so far.
    """

    speech: tuple[str, ...] = option((), "folders of single speakers' speech, as for `diarist simulate`")
    noise: tuple[str, ...] = option((), "folders of noise; noise is coloured where there are none")
    fold: str = option("", "only the speakers of part K of N, as K/N")
    without_fold: str = option("", "only the speakers who are not in part K of N, as K/N")
    speakers: tuple[int, ...] = option((2, 4), "number of speakers of a conversation (range)")
    alone: float = option(0.06, "share of conversations in which one speaker talks", low=0.0, high=1.0)
    conversation: tuple[float, ...] = option(
        (60.0, 120.0), "seconds of a conversation that windows are cut from (range)"
    )
    shorter: float = option(0.15, "share of the windows that are shorter than `model.max_seconds`", low=0.0, high=1.0)
    min_seconds: float = option(10.0, "seconds of the shortest window", low=1.0)
    interruptions: tuple[float, ...] = option(
        (0.05, 0.6), "difficulty: share of the speaker changes that overlap (range)"
    )
    silence: tuple[float, ...] = option((0.15, 1.0), "difficulty: median gap between speakers, seconds (range)")
    stretch: tuple[float, ...] = option((1.0, 3.5), "median stretch of speech, seconds (range)")
    hold: tuple[float, ...] = option((0.2, 0.7), "chance that the speaker goes on after a stretch (range)")
    backchannels: tuple[float, ...] = option((0.0, 3.0), "difficulty: backchannels a minute (range)")
    loudness: tuple[float, ...] = option((0.5, 4.0), "difficulty: spread of the speakers' levels, dB (range)")
    noisy: float = option(0.6, "difficulty: chance of noise", low=0.0, high=1.0)
    prompted: float = option(0.25, "share of conversations cut as prompts do: known speakers first", low=0.0, high=1.0)
    rttm: tuple[str, ...] = option((), "folders of real recordings, each with an RTTM of the same name")
    real: float = option(0.2, "share of the examples from them, where there are any", low=0.0, high=1.0)
    reuse: int = option(1, "examples drawn for each conversation that is made", low=1)
    first: int = option(1, "conversations that are there to draw from at the start", low=1)
    most: int = option(0, "at most so many conversations are made; 0 for no end", low=0)
    recent: int = option(0, "examples come from so many conversations made last; 0 for all, which are kept", low=0)
    cache: str = option("", "folder that keeps what the front end heard; empty for one in the output folder")
    tempo: tuple[float, ...] = option((0.8, 1.25), "how many times as fast what was heard is played (range)")
    spliced: float = option(0.3, "share of the examples that end in another conversation", low=0.0, high=1.0)
    recast: float = option(
        0.0, "share of the examples whose turns are given to people made up for it (frames)", low=0.0, high=1.0
    )
    plain: int = option(
        0, "examples from this number on are neither recast nor spliced, as what is judged; 0 for none", low=0
    )
    voice_noise: float = option(
        0.3, "what is added to voices (frames), in units of the PLDA's noise", low=0.0, high=10.0
    )
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    simulation: SimulationConfig = field(default_factory=SimulationConfig)

    def __post_init__(self) -> None:
        check_range(self, "speakers", 1, 100)
        check_range(self, "conversation", 10.0, 3600.0)
        check_range(self, "tempo", 0.5, 2.0)
        for name, low, high in (
            ("interruptions", 0.0, 1.0),
            ("silence", 0.0, 60.0),
            ("stretch", 0.5, 15.0),
            ("hold", 0.0, 0.95),
            ("backchannels", 0.0, 30.0),
            ("loudness", 0.0, 20.0),
        ):
            check_range(self, name, low, high)
        for name in ("fold", "without_fold"):
            part = re.fullmatch(r"(\d+)/(\d+)", getattr(self, name))
            if getattr(self, name) and (part is None or int(part[1]) >= int(part[2])):
                raise ConfigError(f"'{name}' must be K/N with K from 0 to N - 1, not '{getattr(self, name)}'")


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained."""

    steps: int = option(10_000, "updates of the weights", low=1)
    batch: int = option(16, "examples in a batch, in each process", low=1)
    accumulate: int = option(1, "batches in an update", low=1)
    lr: float = option(1e-3, "learning rate after the warm-up", low=0.0, high=1.0)
    min_lr: float = option(1e-5, "learning rate at the end", low=0.0, high=1.0)
    warmup: int = option(300, "updates over which the learning rate rises", low=0)
    schedule: str = option(
        "cosine", "how the learning rate falls", choices=("cosine", "linear", "inverse-sqrt", "constant")
    )
    weight_decay: float = option(0.01, "weight decay of matrices (AdamW)", low=0.0, high=1.0)
    beta1: float = option(0.9, "AdamW's first moment", low=0.0, high=0.9999)
    beta2: float = option(0.98, "AdamW's second moment", low=0.0, high=0.99999)
    clip: float = option(1.0, "largest norm of the gradient; 0 for any", low=0.0)
    average: float = option(
        0.0, "decay of the moving average of the weights that is kept; 0 for none", low=0.0, high=0.99999
    )
    spread: float = option(
        0.04, "standard deviation of a time's target, seconds; 0 for one right answer", low=0.0, high=1.0
    )
    activity: float = option(1.0, "weight of the loss of who talks in each audio token", low=0.0)
    precision: str = option("float32", "arithmetic", choices=("float32", "bf16"))
    device: str = option("auto", "where: auto, cpu, cuda, mps")
    workers: int = option(0, "processes that make examples; 0 for the one that trains", low=0)
    threads: int = option(0, "threads of torch on a CPU; 0 for its own choice", low=0)
    seed: int = option(42, "of the weights and of the examples", low=0)
    log_every: int = option(20, "updates between two lines of the log", low=1)
    evaluate_every: int = option(500, "updates between two evaluations; 0 for none", low=0)
    checkpoint_every: int = option(500, "updates between two checkpoints", low=1)
    keep: int = option(2, "checkpoints kept", low=1)
    judged: int = option(24, "held-out conversations simulated for each evaluation", low=0)
    judged_fold: str = option("", "the speakers of held-out conversations, as K/N; '' for those of `data.without_fold`")
    judged_rttm: tuple[str, ...] = option((), "folders of real recordings, with RTTM, that are decoded too")
    tensorboard: bool = option(True, "write a TensorBoard log where tensorboard is installed")
    wandb: bool = option(False, "write a Weights & Biases log (offline, unless WANDB_MODE says otherwise)")
