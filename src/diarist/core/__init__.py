"""Nouns: time, sound, activity, speakers, turns. numpy only, no input or output."""
