"""Everything that can go wrong, as a tree.

    DiaristError                    every error that diarist raises on purpose
    |-- InputError                  the recording, reference or transcript given is at fault        (exit code 1)
    |   |-- AudioError              it cannot be decoded, or vanished while it was read
    |   `-- FormatError             a text file (RTTM, UEM, JSON, ...) does not parse; names file and line
    |-- UsageError                  the call is at fault: an unknown preset, impossible bounds      (exit code 2)
    |   `-- ConfigError             an unknown key or a value out of range; names the nearest key
    `-- MissingError                something is not there that could be                            (exit code 3)
        |-- WeightsError            weights missing, of a wrong hash, or not fetchable
        |   `-- ModelFileError      a file given as a model is damaged, refused or of another kind  (exit code 1)
        `-- ExtraError              an optional package is not installed; says the pip line

Each message says what was given and what to do, on one line.
"""

from __future__ import annotations


class DiaristError(Exception):
    """Base of every error that diarist raises on purpose."""

    exit_code = 1


class InputError(DiaristError):
    """The file given is at fault."""

    exit_code = 1


class AudioError(InputError):
    """The recording cannot be read as sound."""


class FormatError(InputError):
    """A text file does not follow its format."""


class UsageError(DiaristError, ValueError):
    """The call is at fault, not the file."""

    exit_code = 2


class ConfigError(UsageError):
    """An unknown configuration key, or a value that cannot be."""


class MissingError(DiaristError):
    """Something needed is not there."""

    exit_code = 3


class WeightsError(MissingError):
    """Model weights are missing, not what they should be, or cannot be fetched."""


class ModelFileError(WeightsError):
    """A file that was given as a model is at fault: damaged, refused, or of another kind."""

    exit_code = InputError.exit_code


class ExtraError(MissingError, ImportError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package '{package}': pip install 'diarist[{extra}]'")
        self.package = package
        self.extra = extra


class Cancelled(DiaristError):
    """The caller asked to stop (a hook returned False, or Ctrl-C)."""

    exit_code = 130
