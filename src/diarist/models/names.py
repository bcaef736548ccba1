"""Names that tensors of the known networks have had elsewhere, and the layouts of their convolutions.

Everything inside is called and laid out as in pyannote's, WeSpeaker's and 3D-Speaker's own checkpoints. Others wrap a
network in a larger one (a prefix), keep one LSTM a layer, or are written for MLX: channels last, and classes of an MLX
port with names of its own (billymolina/speaker-diarization-community-1-mlx).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Architecture = Literal["pyannet", "campplus", "resnet34"]

# A tensor by which a network is known, and the first parts of the names of all that it has.
ANCHORS: dict[Architecture, tuple[str, tuple[str, ...]]] = {
    "pyannet": ("lstm.weight_ih_l0", ("sincnet", "lstm", "linear", "classifier")),
    "campplus": ("xvector.dense.linear.weight", ("head", "xvector")),
    "resnet34": (
        "seg_1.weight",
        ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "seg_1", "seg_2", "seg_bn_1"),
    ),
}
# A convolution by which a layout is known, and the place of its kernel where channels are last.
_LAYOUT: dict[Architecture, tuple[str, int]] = {
    "pyannet": ("sincnet.conv1d.1.weight", 5),
    "campplus": ("head.conv1.weight", 3),
    "resnet34": ("conv1.weight", 3),
}
_SINC = "sincnet.conv1d.0.filterbank"
_RENAMED: tuple[tuple[str, str], ...] = (
    (r"sincnet\.sinc_conv\.", f"{_SINC}."),
    (r"sincnet\.wav_norm\.", "sincnet.wav_norm1d."),
    (r"lstm_layers\.", "lstm."),
    (r"lstm\.(\d+)\.(weight|bias)_(ih|hh)_l0", r"lstm.\2_\3_l\1"),
    (r"lstm_forward\.(\d+)\.Wx$", r"lstm.weight_ih_l\1"),
    (r"lstm_forward\.(\d+)\.Wh$", r"lstm.weight_hh_l\1"),
    (r"lstm_forward\.(\d+)\.bias$", r"lstm.bias_ih_l\1"),
    (r"lstm_backward\.(\d+)\.Wx$", r"lstm.weight_ih_l\1_reverse"),
    (r"lstm_backward\.(\d+)\.Wh$", r"lstm.weight_hh_l\1_reverse"),
    (r"lstm_backward\.(\d+)\.bias$", r"lstm.bias_ih_l\1_reverse"),
    (r"shortcut_conv\.", "shortcut.0."),
    (r"shortcut_bn\.", "shortcut.1."),
    (r"(layer\d)\.layers\.", r"\1."),
)
_COUNTED = ((r"sincnet\.norm(\d)\.", "sincnet.norm1d.{}."), (r"sincnet\.conv(\d)\.", "sincnet.conv1d.{}."))
_LINEAR = (r"(^|\.)linear(\d)\.", r"{}linear.{}.")


def known(tensors: Mapping[str, NDArray[Any]]) -> tuple[Architecture, dict[str, NDArray[Any]]] | None:
    """Which network tensors are of, and its own under their canonical names and layout; None for none that is known."""
    renamed = {_canonical(name): tensor for name, tensor in tensors.items()}
    if any(name.endswith("layer1.0.conv1.weight") for name in renamed):
        renamed = {re.sub(r"(^|\.)fc\.(weight|bias)$", r"\1seg_1.\2", name): t for name, t in renamed.items()}
    for architecture, (anchor, parts) in ANCHORS.items():
        prefixes = [n[: -len(anchor)] for n in renamed if n == anchor or n.endswith("." + anchor)]
        if len(prefixes) != 1:
            continue
        own = {
            name[len(prefixes[0]) :]: tensor
            for name, tensor in renamed.items()
            if name.startswith(prefixes[0]) and name[len(prefixes[0]) :].partition(".")[0] in parts
        }
        own = {name: tensor for name, tensor in own.items() if not name.endswith("num_batches_tracked")}
        return architecture, _whole(_channels_first(architecture, own))
    return None


def _canonical(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    for pattern, form in _COUNTED:
        name = re.sub(pattern, lambda found, form=form: form.format(int(found[1]) - 1), name)  # type: ignore[misc]
    pattern, form = _LINEAR
    if "cam_layer" in name or "tdnn" in name:
        return name  # CAM++ has a linear1 of its own
    return re.sub(pattern, lambda found: form.format(found[1], int(found[2]) - 1), name)


def _channels_first(architecture: Architecture, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Convolutions as `(out, in, *kernel)`."""
    name, kernel = _LAYOUT[architecture]
    seen = tensors.get(name)
    if seen is None or seen.ndim < 3 or seen.shape[1] != kernel or seen.shape[-1] == kernel:
        return tensors
    return {name: np.moveaxis(t, -1, 1) if t.ndim > 2 else t for name, t in tensors.items()}


def _whole(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """With the second bias of every LSTM, zero, in a file that adds up both."""
    if any(name.startswith("lstm.bias_hh") for name in tensors):
        return tensors
    added = {
        name.replace("bias_ih", "bias_hh"): np.zeros_like(tensor)
        for name, tensor in tensors.items()
        if name.startswith("lstm.bias_ih")
    }
    return tensors | added


def channels_last(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Convolutions as `(out, *kernel, in)`, which is how MLX has them."""
    return {name: np.moveaxis(t, 1, -1) if t.ndim > 2 else t for name, t in tensors.items()}
