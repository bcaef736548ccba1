"""Any file to float32 mono 16 kHz, in blocks."""
