"""Models: where they come from, how they are loaded, one adapter an engine."""
