"""Conversations from single-speaker speech, from a seed."""
