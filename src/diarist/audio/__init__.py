"""Any recording to float32 mono 16 kHz, block by block: `decode.open_audio()`."""
