"""One file per command; flags are made from the configuration dataclasses."""
