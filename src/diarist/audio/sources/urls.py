"""Whatever FFmpeg opens: web radio (http, hls), cameras (rtsp), udp and tcp senders, devices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import av

from diarist.audio.pcm import Stretch
from diarist.audio.sources.containers import frames
from diarist.audio.sources.source import BLOCK, BlockSource
from diarist.errors import AudioError

PROTOCOLS = "crypto,data,hls,http,https,httpproxy,mmsh,mmst,rtmp,rtmps,rtmpt,rtp,rtsp,rtsps,srt,srtp,tcp,tls,udp"
"""What a stream may refer to: a play list that came over a network is not to open files here."""


class UrlSource(BlockSource):
    """The sound of a URL, decoded as it comes. It is opened when it is first iterated.

    `options` are FFmpeg's (`{"rtsp_transport": "tcp"}`); `timeout` is how many seconds may pass without a byte. Holes
    in time are filled with silence. Raises `AudioError`, without the URL's password, where it cannot be opened, has
    no sound, or breaks off.
    """

    def __init__(
        self,
        url: str,
        *,
        options: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        block: float = BLOCK,
        uri: str | None = None,
    ) -> None:
        super().__init__(uri or uri_of(url), block)
        self._url, self._timeout = url, timeout
        self._options = {"protocol_whitelist": PROTOCOLS, **(options or {})}
        self._name = repr(without_password(url))
        self._closed = False

    def stretches(self) -> Iterator[Stretch]:
        """The samples as they are decoded."""
        try:
            with self._open() as container:
                for stretch in frames(container, self._name, self.warnings):
                    if self._closed:
                        return
                    yield stretch
        except av.error.FFmpegError as error:
            raise AudioError(f"{self._name} broke off: {_reason(error, self._timeout)}") from error

    def close(self) -> None:
        """End at the next frame."""
        self._closed = True

    def _open(self) -> Any:
        try:
            return av.open(self._url, mode="r", options=self._options, timeout=self._timeout)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise AudioError(f"{self._name} cannot be opened: {_reason(error, self._timeout)}") from error


def uri_of(url: str) -> str:
    """A short name for a URL: the last part of its path, or its host."""
    parts = urlsplit(url)
    last = parts.path.rstrip("/").rpartition("/")[2].partition(".")[0]
    return re.sub(r"\W+", "_", last or parts.hostname or "") or "stream"


def without_password(url: str) -> str:
    """The URL as it may stand in a message."""
    return re.sub(r"(?<=://)[^/\s]*@", "", url)


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, av.error.ExitError | TimeoutError):
        return f"nothing came for {timeout:g} s"
    return getattr(error, "strerror", None) or str(error)
