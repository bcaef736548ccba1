"""What was said, by whom: transcripts in and out, words to speakers, scores, recognisers."""
