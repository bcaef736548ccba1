"""The two default networks in torch, straight from their papers and recipes: what the ONNX graphs are held against.

Functions of a checkpoint's tensors, with nothing folded, shared or rearranged.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def campplus(t, fbank):
    """CAM++ of 3D-Speaker: features `(batch, num_fbank, 80)` to maps `(batch, 512, num_maps)`."""

    def norm(x, name):
        affine = t.get(f"{name}.weight"), t.get(f"{name}.bias")
        return F.batch_norm(x, t[f"{name}.running_mean"], t[f"{name}.running_var"], *affine)

    def residual(x, name, stride):
        y = F.relu(norm(F.conv2d(x, t[f"{name}.conv1.weight"], stride=(stride, 1), padding=1), f"{name}.bn1"))
        y = norm(F.conv2d(y, t[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
        if stride == 2:
            x = norm(F.conv2d(x, t[f"{name}.shortcut.0.weight"], stride=(2, 1)), f"{name}.shortcut.1")
        return F.relu(y + x)

    def dense(x, name, dilation):
        x = F.conv1d(F.relu(norm(x, f"{name}.nonlinear1.batchnorm")), t[f"{name}.linear1.weight"])
        x = F.relu(norm(x, f"{name}.nonlinear2.batchnorm"))
        cam = f"{name}.cam_layer"
        y = F.conv1d(x, t[f"{cam}.linear_local.weight"], padding=dilation, dilation=dilation)
        segments = F.avg_pool1d(x, 100, stride=100, ceil_mode=True).repeat_interleave(100, dim=-1)[..., : x.shape[-1]]
        context = x.mean(dim=-1, keepdim=True) + segments
        context = F.relu(F.conv1d(context, t[f"{cam}.linear1.weight"], t[f"{cam}.linear1.bias"]))
        return y * torch.sigmoid(F.conv1d(context, t[f"{cam}.linear2.weight"], t[f"{cam}.linear2.bias"]))

    x = fbank.transpose(1, 2).unsqueeze(1)
    x = F.relu(norm(F.conv2d(x, t["head.conv1.weight"], padding=1), "head.bn1"))
    for name, stride in (("layer1.0", 2), ("layer1.1", 1), ("layer2.0", 2), ("layer2.1", 1)):
        x = residual(x, f"head.{name}", stride)
    x = F.relu(norm(F.conv2d(x, t["head.conv2.weight"], stride=(2, 1), padding=1), "head.bn2"))
    x = F.conv1d(x.flatten(1, 2), t["xvector.tdnn.linear.weight"], stride=2, padding=2)
    x = F.relu(norm(x, "xvector.tdnn.nonlinear.batchnorm"))
    for number, (num_layers, dilation) in enumerate(((12, 1), (24, 2), (16, 2)), start=1):
        for layer in range(1, num_layers + 1):
            x = torch.cat([x, dense(x, f"xvector.block{number}.tdnnd{layer}", dilation)], dim=1)
        name = f"xvector.transit{number}"
        x = F.conv1d(F.relu(norm(x, f"{name}.nonlinear.batchnorm")), t[f"{name}.linear.weight"])
    return F.relu(norm(x, "xvector.out_nonlinear.batchnorm"))


def campplus_embedding(t, maps):
    """Maps `(batch, 512, num_maps)` to embeddings `(batch, 192)`; no rectifier after the last normalisation."""
    statistics = torch.cat([maps.mean(dim=-1), maps.std(dim=-1, unbiased=True)], dim=-1)
    x = F.conv1d(statistics.unsqueeze(-1), t["xvector.dense.linear.weight"])[..., 0]
    name = "xvector.dense.nonlinear.batchnorm"
    return F.batch_norm(x, t[f"{name}.running_mean"], t[f"{name}.running_var"])


def sinc_filters(t):
    """Band-pass filters as windowed differences of ideal low-pass ones: `(80, 1, 251)`."""
    name = "sincnet.conv1d.0.filterbank"
    low = 50 + t[f"{name}.low_hz_"].abs()
    band = (low + 50 + t[f"{name}.band_hz_"].abs()).clamp(50, 8000) - low
    times = torch.cat([t[f"{name}.n_"], torch.zeros(1, 1), -t[f"{name}.n_"].flip(1)], dim=1)
    taper = torch.cat([t[f"{name}.window_"], torch.ones(1), t[f"{name}.window_"].flip(0)])
    even = torch.where(times == 0, 2 * band, (((low + band) * times).sin() - (low * times).sin()) / (times / 2))
    odd = torch.where(times == 0, 0.0, ((low * times).cos() - ((low + band) * times).cos()) / (times / 2))
    return (torch.cat([even, odd]) * taper / (2 * torch.cat([band, band]))).unsqueeze(1)


def pyannet(t, samples):
    """segmentation-3.0: `(batch, num_samples)` to log-probabilities `(batch, num_frames, 7)`."""

    def norm(x, name):
        return F.leaky_relu(F.instance_norm(x, weight=t[f"{name}.weight"], bias=t[f"{name}.bias"]))

    name = "sincnet.wav_norm1d"
    x = F.instance_norm(samples.unsqueeze(1), weight=t[f"{name}.weight"], bias=t[f"{name}.bias"])
    x = F.conv1d(x, sinc_filters(t), stride=10).abs()
    x = norm(F.max_pool1d(x, 3), "sincnet.norm1d.0")
    for number in (1, 2):
        x = F.conv1d(x, t[f"sincnet.conv1d.{number}.weight"], t[f"sincnet.conv1d.{number}.bias"])
        x = norm(F.max_pool1d(x, 3), f"sincnet.norm1d.{number}")
    lstm = torch.nn.LSTM(60, 128, num_layers=4, bidirectional=True, batch_first=True)
    lstm.load_state_dict({key.removeprefix("lstm."): value for key, value in t.items() if key.startswith("lstm.")})
    x, _ = lstm(x.transpose(1, 2))
    for layer in ("linear.0", "linear.1"):
        x = F.leaky_relu(F.linear(x, t[f"{layer}.weight"], t[f"{layer}.bias"]))
    return F.log_softmax(F.linear(x, t["classifier.weight"], t["classifier.bias"]), dim=-1)


def resnet34(t, fbank, weights=None):
    """WeSpeaker's ResNet34 as pyannote.audio runs it: features `(batch, num_fbank, 80)`, weights
    `(batch, num_weights)`, to embeddings `(batch, 256)`."""

    def norm(x, name):
        affine = t[f"{name}.weight"], t[f"{name}.bias"]
        return F.batch_norm(x, t[f"{name}.running_mean"], t[f"{name}.running_var"], *affine)

    x = F.relu(norm(F.conv2d(fbank.transpose(1, 2).unsqueeze(1), t["conv1.weight"], padding=1), "bn1"))
    for stage, num_blocks in enumerate((3, 4, 6, 3), start=1):
        for number in range(num_blocks):
            name, stride = f"layer{stage}.{number}", 2 if stage > 1 and number == 0 else 1
            y = F.relu(norm(F.conv2d(x, t[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.bn1"))
            y = norm(F.conv2d(y, t[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            if stride == 2:
                x = norm(F.conv2d(x, t[f"{name}.shortcut.0.weight"], stride=2), f"{name}.shortcut.1")
            x = F.relu(y + x)
    maps = x.flatten(1, 2)  # (batch, channels * mels, num_maps)
    if weights is None:
        statistics = torch.cat([maps.mean(dim=2), maps.std(dim=2, correction=1)], dim=1)
    else:
        w = F.interpolate(weights.unsqueeze(1), size=maps.shape[2], mode="nearest")
        total, squares = w.sum(dim=2), w.square().sum(dim=2)
        mean = (maps * w).sum(dim=2) / total
        variance = ((maps - mean.unsqueeze(2)).square() * w).sum(dim=2) / (total - squares / total)
        statistics = torch.cat([mean, variance.sqrt()], dim=1)
    return F.linear(statistics, t["seg_1.weight"], t["seg_1.bias"])
