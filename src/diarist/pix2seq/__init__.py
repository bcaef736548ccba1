"""Pix2Seq diarization: a transformer hears a window of sound and writes `start, end, speaker` tokens.

Read in this order: `tokens`, `config`, `model`, `train`, `generate`, `prompt`. Nothing here needs torch until a model
is made or loaded.
"""
