"""Text to `Diarization` and back, a file per format."""
