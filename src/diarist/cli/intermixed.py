"""Options may stand between the words of a command: `enrol NAME --gallery FILE AUDIO`."""

from __future__ import annotations

import argparse
from typing import Any


class IntermixedParser(argparse.ArgumentParser):
    """A parser that takes its words wherever they stand (`parse_intermixed_args`), also as a subcommand."""

    _inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As `argparse` has it; what it does in turn is its own."""
        if self._inside:
            return super().parse_known_args(args, namespace)
        self._inside = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False
