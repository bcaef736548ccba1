"""The network: one transformer that hears sound and writes tokens.

Audio tokens see all of the sound, turn tokens see all of the sound and the turn tokens before them (a prefix language
model). A moment is told in one way, whether it is that of an audio token or that of a time token: sinusoids of its
seconds through one projection. Half of each attention head is turned by those seconds as well (RoFormer, Su et al.,
2021, with time for place), so that what comes just after a time that has been written is found whatever the time. A
time is written by pointing at it: every audio token has a key for each of its time steps, for the turn token's query
(Vinyals et al., "Pointer networks", 2015), and sinusoids of the time are said beside it. The token of a turn's end, and
that of its speaker, tell what was heard between its start and its end; a speaker is pointed at too, by the turns that
were theirs (Snell et al., "Prototypical networks", 2017). Needs torch.

In the comments: b sequences, a audio tokens, t turn tokens, d the width, f sinusoids, v ids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diarist.pix2seq.config import AudioSpec, ModelConfig
from diarist.pix2seq.tokens import FIRST_TIME, PAD, Vocabulary

TABLE_START, TABLE_END, TABLE_LABELS = FIRST_TIME, FIRST_TIME + 1, FIRST_TIME + 2  # rows of the table of kinds of token
POINTER = 32  # values of a key that is pointed at
SHORTEST = 0.5  # seconds: the shortest period by which attention is turned


@dataclass(frozen=True)
class Output:
    """`logits` `(b, t, v)` of the next token at each turn token; `activity` `(b, a, num_speakers)`, the log-odds that a
    speaker, in order of appearance, talks in an audio token (None where the model has not learned it)."""

    logits: Tensor
    activity: Tensor | None


class Sinusoids(nn.Module):
    """Cosines and sines of a number, `num` of each, of periods from `shortest` to `longest`, and their projection."""

    def __init__(self, num: int, shortest: float, longest: float, width: int) -> None:
        super().__init__()
        periods = torch.logspace(math.log10(shortest), math.log10(longest), num, dtype=torch.float64)
        self.register_buffer("rates", (2 * math.pi / periods).float(), persistent=False)
        self.project = nn.Linear(2 * num, width, bias=False)

    def waves(self, values: Tensor) -> Tensor:
        """Numbers of any shape to `(..., 2 * num)` in [-1, 1]."""
        angles = values.float()[..., None] * self.rates
        return torch.cat([angles.cos(), angles.sin()], dim=-1)

    def forward(self, values: Tensor) -> Tensor:
        """Numbers of any shape to `(..., width)`."""
        projected: Tensor = self.project(self.waves(values))
        return projected


class AudioEmbedding(nn.Module):
    """What a front end gives `(b, num_features, channels)` to audio tokens `(b, a, d)`; time is not yet in them."""

    def __init__(self, config: ModelConfig, audio: AudioSpec) -> None:
        super().__init__()
        self.audio, self.stride = audio, 2 if config.frontend == "mel" else 1
        if audio.codes:
            self.codes = nn.Embedding(audio.channels * audio.codes, config.d_model)  # one table for each codebook
        elif self.stride == 2:
            self.near = nn.Conv1d(audio.channels, config.d_model, 3, padding=1)
            self.halve = nn.Conv1d(config.d_model, config.d_model, 3, padding=1, stride=2)
        else:
            self.linear = nn.Linear(audio.channels, config.d_model)

    def num_tokens(self, lengths: Tensor) -> Tensor:
        """Audio tokens of so many features."""
        return (lengths.clamp(min=1) + self.stride - 1) // self.stride

    def seconds(self, num_tokens: int, device: torch.device) -> Tensor:
        """Middles of audio tokens. Shape `(a,)`."""
        steps = torch.arange(num_tokens, device=device, dtype=torch.float32)
        return self.audio.first + self.stride * self.audio.step * steps

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """The first `lengths` `(b,)` of the features count; what comes after them changes nothing."""
        if self.audio.codes:
            books = torch.arange(self.audio.channels, device=features.device) * self.audio.codes
            summed: Tensor = self.codes(features + books).sum(dim=2)  # (b, a, d)
            return summed
        if self.stride == 1:
            linear: Tensor = self.linear(features)  # (b, a, d)
            return linear
        inside = (torch.arange(features.shape[1], device=features.device) < lengths[:, None])[:, None]  # (b, 1, n)
        near = F.gelu(self.near(features.transpose(1, 2) * inside)) * inside  # (b, d, n)
        return F.gelu(self.halve(near)).transpose(1, 2)  # (b, a, d)


class Cache:
    """Keys and values of what has been heard and written, layer by layer, with room for `room` turn tokens."""

    def __init__(self, heard: Tensor, room: int) -> None:
        self.heard, self.room = heard, room  # (b, a), True where there is sound
        self.pointed = torch.empty(0)  # (b, n + 1, POINTER): what can be pointed at, a key for each time
        self.activity: Tensor | None = None  # as `Output.activity`, of the sequences that were heard
        self.audio = torch.empty(0)  # (b, a, d): audio tokens before the first block, without their times
        self.ids = torch.full((len(heard), 0), PAD, device=heard.device)  # (b, written)
        self.voices = torch.empty(len(heard), 0, POINTER + 1, device=heard.device)  # of each turn token: see `_who`
        self.keys: list[Tensor] = []  # of each layer (b, heads, a + room, d / heads)
        self.values: list[Tensor] = []

    @property
    def written(self) -> int:
        """Turn tokens so far."""
        return self.ids.shape[1]

    def put(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store what is new (b, heads, new, d / heads); everything so far."""
        if layer == len(self.keys):  # the sound
            self.keys.append(F.pad(keys, (0, 0, 0, self.room)))
            self.values.append(F.pad(values, (0, 0, 0, self.room)))
            return keys, values
        first = self.heard.shape[1] + self.written
        last = first + keys.shape[2]
        self.keys[layer][:, :, first:last], self.values[layer][:, :, first:last] = keys, values
        return self.keys[layer][:, :, :last], self.values[layer][:, :, :last]

    def expand(self, times: int) -> None:
        """Every sequence `times` over, side by side."""
        self.heard = self.heard.repeat_interleave(times, dim=0)
        self.pointed = self.pointed.repeat_interleave(times, dim=0)
        self.audio = self.audio.repeat_interleave(times, dim=0)
        self.ids = self.ids.repeat_interleave(times, dim=0)
        self.voices = self.voices.repeat_interleave(times, dim=0)
        self.keys = [k.repeat_interleave(times, dim=0) for k in self.keys]
        self.values = [v.repeat_interleave(times, dim=0) for v in self.values]

    def select(self, rows: Tensor) -> None:
        """What has been written becomes that of `rows` (b,), which must have heard the same."""
        first = self.heard.shape[1]
        self.ids, self.voices = self.ids[rows], self.voices[rows]
        for stored in (*self.keys, *self.values):
            written = stored[:, :, first : first + self.written]
            written.copy_(written[rows])


Turning = tuple[Tensor, Tensor]
"""Cosines and sines `(b, 1, new, pairs)` by which pairs of values of a query or key are turned."""


def turning(seconds: Tensor, size: int, longest: float) -> Turning:
    """For tokens at `seconds` `(b, new)` and heads of `size` values, of which half are turned, with periods from
    `SHORTEST` to `longest` seconds."""
    pairs = max(1, size // 4)
    rates = 2 * math.pi / torch.logspace(math.log10(SHORTEST), math.log10(longest), pairs, device=seconds.device)
    angles = seconds.float()[:, None, :, None] * rates  # (b, 1, new, pairs)
    return angles.cos(), angles.sin()


def turned(x: Tensor, turn: Turning) -> Tensor:
    """Queries or keys `(b, heads, new, size)` with their first pairs of values turned."""
    cos, sin = (part.to(x.dtype) for part in turn)
    pairs = cos.shape[-1]
    one, two, rest = x[..., :pairs], x[..., pairs : 2 * pairs], x[..., 2 * pairs :]
    return torch.cat([one * cos - two * sin, one * sin + two * cos, rest], dim=-1)


class Block(nn.Module):
    """Attention and a two-layer network, each on top of a norm and added to what was there."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        d, bias = config.d_model, config.bias
        self.layer, self.heads, self.rate = layer, config.heads, config.dropout
        self.norm_attention, self.norm_mlp = nn.LayerNorm(d, bias=bias), nn.LayerNorm(d, bias=bias)
        self.qkv = nn.Linear(d, 3 * d, bias=bias)
        self.attended = nn.Linear(d, d, bias=bias)
        self.widen, self.narrow = nn.Linear(d, 4 * d, bias=bias), nn.Linear(4 * d, d, bias=bias)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, turn: Turning, mask: Tensor, cache: Cache | None = None) -> Tensor:
        """`(b, new, d)`; `mask` `(b, 1, new, all)` is True where one may look; `turn` as `turning` gives it."""
        x = x + self.drop(self.attend(self.norm_attention(x), turn, mask, cache))
        return x + self.drop(self.narrow(F.gelu(self.widen(self.norm_mlp(x)))))

    def attend(self, x: Tensor, turn: Turning, mask: Tensor, cache: Cache | None) -> Tensor:
        """What each of `(b, new, d)` finds where it may look."""
        b, new, d = x.shape
        q, k, v = self.qkv(x).view(b, new, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)  # (b, heads, new, .)
        q, k = turned(q, turn), turned(k, turn)
        if cache is not None:
            k, v = cache.put(self.layer, k, v)
        y = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=self.rate if self.training else 0.0)
        attended: Tensor = self.attended(y.transpose(1, 2).reshape(b, new, d))  # (b, new, d)
        return attended


class Pix2Seq(nn.Module):
    """The whole network; `audio` is what the front end of the configuration gives."""

    def __init__(self, config: ModelConfig, audio: AudioSpec) -> None:
        super().__init__()
        if config.d_model % config.heads:
            raise ValueError(f"a width of {config.d_model} cannot be shared by {config.heads} heads")
        self.config, self.audio = config, audio
        self.vocabulary = Vocabulary(config.max_seconds, config.time_step, config.num_speakers)
        self.embed_audio = AudioEmbedding(config, audio)
        self.kinds = nn.Embedding(TABLE_LABELS + config.num_speakers, config.d_model)
        self.time = Sinusoids(config.frequencies, 2 * config.time_step, 4 * config.max_seconds, config.d_model)
        self.order = Sinusoids(16, 3.0, 1000.0, config.d_model)  # which token of the sequence it is
        self.drop = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = nn.LayerNorm(config.d_model, bias=config.bias)
        self.say_time = nn.Linear(config.d_model, 2 * config.frequencies, bias=False)
        spacing = self.embed_audio.stride * audio.step
        self.slots = max(1, math.ceil(round(spacing / config.time_step, 6)))  # time steps in an audio token
        self.point_at = nn.Linear(config.d_model, self.slots * POINTER, bias=False)
        self.point = nn.Linear(config.d_model, POINTER, bias=False)
        self.voice = nn.Linear(config.d_model, POINTER + 1)
        self.alike = nn.Parameter(torch.ones(()))
        self.say_other = nn.Linear(config.d_model, FIRST_TIME + config.num_speakers, bias=False)
        self.say_activity = nn.Linear(config.d_model, config.num_speakers) if config.activity else None
        self.register_buffer("grid", self._grid(), persistent=False)
        self.apply(self._start)
        for name, weight in self.named_parameters():
            if name.endswith(("attended.weight", "narrow.weight")):  # they add up over the layers (GPT-2)
                nn.init.normal_(weight, std=1 / math.sqrt(2 * config.layers * weight.shape[1]))
            if name.startswith("say_"):
                nn.init.normal_(weight, std=0.02)
            if name.endswith("qkv.weight"):  # like looks at like (Trockman & Kolter, "Mimetic initialization", 2023)
                weight.data[: config.d_model] += weight.data[config.d_model : 2 * config.d_model]

    def forward(self, features: Tensor, lengths: Tensor, ids: Tensor) -> Output:
        """Features `(b, num_features, channels)` (codes: whole numbers), of which the first `lengths` `(b,)` count, and
        ids `(b, t)`, the first of them START."""
        audio, heard = self._hear(features, lengths)  # (b, a, d), (b, a)
        num_audio, num_ids = heard.shape[1], ids.shape[1]
        times = self._times(ids, torch.full_like(ids[:, :1], PAD).expand(-1, 2))  # (b, t + 2)
        x = torch.cat([self._placed(audio), self._read(ids, 0, times, audio, heard)], dim=1)  # (b, a + t, d)
        turn = self._turning(torch.cat([self._middles(audio), self._stand(ids, times)], dim=1))
        mask = heard[:, None].expand(-1, num_audio + num_ids, -1)  # (b, a + t, a)
        causal = torch.ones(num_ids, num_ids, dtype=torch.bool, device=ids.device).tril()
        own = F.pad(causal, (0, 0, num_audio, 0)).expand(len(ids), -1, -1)  # (b, a + t, t)
        mask = torch.cat([mask, own], dim=2)[:, None]  # (b, 1, a + t, a + t)
        for block in self.blocks:
            x = block(x, turn, mask)
        x = self.norm(x)
        audio, written = x[:, :num_audio], x[:, num_audio:]
        activity = None if self.say_activity is None else self.say_activity(audio)
        return Output(self._say(written, self._pointed(audio, heard), self._who(self.voice(written), ids)), activity)

    def hear(self, features: Tensor, lengths: Tensor, room: int) -> Cache:
        """The sound's keys and values, with room for so many turn tokens: to be written by `write`."""
        audio, heard = self._hear(features, lengths)
        cache = Cache(heard, room)
        cache.audio, x = audio, self._placed(audio)
        mask = heard[:, None, None].expand(-1, -1, heard.shape[1], -1)
        turn = self._turning(self._middles(x))
        for block in self.blocks:
            x = block(x, turn, mask, cache)
        x = self.norm(x)
        cache.pointed = self._pointed(x, heard)
        cache.activity = None if self.say_activity is None else self.say_activity(x)
        return cache

    def write(self, cache: Cache, ids: Tensor) -> Tensor:
        """Logits `(b, t, v)` after the next ids `(b, t)`, which the cache then holds too; as `forward` gives."""
        new, before = ids.shape[1], cache.written
        times = self._times(ids, F.pad(cache.ids, (2, 0), value=PAD)[:, -2:])
        x = self._read(ids, before, times, cache.audio, cache.heard)
        own = torch.ones(new, before + new, dtype=torch.bool, device=ids.device).tril(before)
        mask = torch.cat([cache.heard[:, None].expand(-1, new, -1), own.expand(len(ids), -1, -1)], dim=2)[:, None]
        turn = self._turning(self._stand(ids, times))
        for block in self.blocks:
            x = block(x, turn, mask, cache)
        x = self.norm(x)
        cache.ids = torch.cat([cache.ids, ids], dim=1)
        cache.voices = torch.cat([cache.voices, self.voice(x)], dim=1)
        return self._say(x, cache.pointed, self._who(cache.voices, cache.ids)[:, before:])

    def _hear(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Audio tokens `(b, a, d)`, which do not tell their times yet, and which of them are sound `(b, a)`."""
        x = self.embed_audio(features, lengths)
        heard = torch.arange(x.shape[1], device=x.device) < self.embed_audio.num_tokens(lengths)[:, None]
        return x, heard

    def _placed(self, audio: Tensor) -> Tensor:
        """Audio tokens `(b, a, d)` with their times."""
        return self.drop(audio + self.time(self._middles(audio)))

    def _read(self, ids: Tensor, first: int, times: Tensor, audio: Tensor, heard: Tensor) -> Tensor:
        """Turn tokens `(b, t, d)` of ids `(b, t)`, the first of which is number `first` of its sequence: ends and
        speakers tell the sound of their turn as well. `times` as `_times` gives them."""
        vocabulary = self.vocabulary
        places = first + torch.arange(ids.shape[1], device=ids.device)  # (t,)
        is_time = (ids >= FIRST_TIME) & (ids < vocabulary.first_label)  # (b, t)
        kinds = torch.where(ids < FIRST_TIME, ids, ids - vocabulary.first_label + TABLE_LABELS)
        kinds = torch.where(is_time, torch.where(places % 3 == 1, TABLE_START, TABLE_END), kinds)
        told = self.time(times[:, 2:]) * is_time[..., None]  # (b, t, d)
        ends = places % 3 == 2
        since = torch.where(ends, times[:, 1:-1], times[:, :-2])
        until = torch.where(ends, times[:, 2:], times[:, 1:-1])
        turns = ends | ((ids >= vocabulary.first_label) & (places > 0))
        sound = self._within(since, until, audio, heard) * turns[..., None]
        return self.drop(self.kinds(kinds) + told + self.order(places) + sound)

    def _within(self, since: Tensor, until: Tensor, audio: Tensor, heard: Tensor) -> Tensor:
        """The mean of audio tokens `(b, a, d)` between times `(b, t)`, in seconds: `(b, t, d)`."""
        middles = self._middles(audio)[:, None]  # (b, 1, a)
        half = self.embed_audio.stride * self.audio.step / 2
        shared = torch.minimum(until[..., None], middles + half) - torch.maximum(since[..., None], middles - half)
        shared = shared.clamp(min=0) * heard[:, None]  # (b, t, a)
        return (shared / shared.sum(dim=2, keepdim=True).clamp(min=1e-3)).to(audio.dtype) @ audio

    def _middles(self, audio: Tensor) -> Tensor:
        """Seconds of audio tokens `(b, a, d)`: `(b, a)`."""
        return self.embed_audio.seconds(audio.shape[1], audio.device).expand(len(audio), -1)

    def _times(self, ids: Tensor, last: Tensor) -> Tensor:
        """Seconds that the two ids before `(b, 2)` and ids `(b, t)` say, 0 where they say none: `(b, t + 2)`."""
        ids = torch.cat([last, ids], dim=1)
        is_time = (ids >= FIRST_TIME) & (ids < self.vocabulary.first_label)
        return (ids - FIRST_TIME) * self.vocabulary.time_step * is_time

    def _stand(self, ids: Tensor, times: Tensor) -> Tensor:
        """Seconds that turn tokens `(b, t)` stand at: what they say; a speaker stands at the end of the turn."""
        return torch.where(ids >= self.vocabulary.first_label, times[:, 1:-1], times[:, 2:])

    def _turning(self, seconds: Tensor) -> Turning:
        return turning(seconds, self.config.d_model // self.config.heads, 4 * self.config.max_seconds)

    def _pointed(self, audio: Tensor, heard: Tensor) -> Tensor:
        """Keys of every time, `(b, n + 1, POINTER)`, from audio tokens `(b, a, d)`; 0 where nothing is heard."""
        keys = (self.point_at(audio) * heard[..., None]).unflatten(-1, (self.slots, POINTER))  # (b, a, slots, POINTER)
        spacing = self.embed_audio.stride * self.audio.step
        steps = torch.arange(self.vocabulary.num_steps + 1, device=audio.device, dtype=torch.float64)
        places = (steps * self.vocabulary.time_step - self.audio.first) / spacing + 0.5
        places = places.clamp(0, heard.shape[1])  # what lies beyond points at nothing
        tokens = places.long()  # (n + 1,)
        slots = ((places - tokens) * self.slots).long()
        return F.pad(keys, (0, 0, 0, 0, 0, 1))[:, tokens, slots]

    def _who(self, voices: Tensor, ids: Tensor) -> Tensor:
        """How alike each turn is to the turns of each speaker before it: `(b, t, num_speakers)`, 0 but after an end.

        `voices` `(b, t, POINTER + 1)` of turn tokens, of which those of ends count: a vector, and how much it weighs.
        """
        ends, labels = voices[:, 2::3], ids[:, 3::3]  # (b, m, POINTER + 1), (b, m or m - 1)
        alike = torch.zeros(*ids.shape, self.config.num_speakers, device=ids.device, dtype=voices.dtype)
        num = ends.shape[1]
        if num:
            vectors, weights = F.normalize(ends[..., :-1], dim=-1), F.softplus(ends[..., -1])
            numbers = F.pad(labels - self.vocabulary.first_label, (0, num - labels.shape[1]), value=-1)
            spoke = (numbers[..., None] == torch.arange(self.config.num_speakers, device=ids.device)) * weights[
                ..., None
            ]
            before = torch.ones(num, num, dtype=voices.dtype, device=ids.device).tril(-1)
            means = torch.einsum("ij,bjs,bjp->bisp", before, spoke, vectors)
            means = means / torch.einsum("ij,bjs->bis", before, spoke)[..., None].clamp(min=1e-4)
            alike[:, 2::3] = (means @ vectors[..., None])[..., 0] * (self.alike * 10)
        return alike

    def _say(self, x: Tensor, pointed: Tensor, alike: Tensor) -> Tensor:
        """Logits `(b, t, v)` of what comes after turn tokens `(b, t, d)`."""
        times = self.say_time(x) @ self.grid.T.to(x.dtype)  # (b, t, n + 1)
        times = times + self.point(x) @ pointed.transpose(1, 2) / math.sqrt(POINTER)
        other = self.say_other(x)
        other = torch.cat([other[..., :FIRST_TIME], other[..., FIRST_TIME:] + alike], dim=-1)
        return torch.cat([other[..., :FIRST_TIME], times, other[..., FIRST_TIME:]], dim=-1).float()

    def _grid(self) -> Tensor:
        """Sinusoids of every time there is. Shape `(n + 1, 2 * f)`."""
        return self.time.waves(torch.arange(self.vocabulary.num_steps + 1) * self.vocabulary.time_step)

    def _start(self, module: nn.Module) -> None:
        """First weights."""
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)  # as loud as a time, so that neither drowns the other in a norm
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1 / math.sqrt(module.in_features))
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def configure_optimizer(
        self, learning_rate: float, weight_decay: float, betas: tuple[float, float] = (0.9, 0.95)
    ) -> torch.optim.AdamW:
        """AdamW, with decay for matrices only."""
        matrices = [p for p in self.parameters() if p.ndim >= 2]
        others = [p for p in self.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas)
