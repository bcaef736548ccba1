"""The updates of a session, numbered from 1 and kept until the client is known to have them."""

from __future__ import annotations

from collections import deque

from diarist.server.limits import MOST_KEPT
from diarist.server.messages import Refusal


class Outbox:
    """Texts in order: those that were sent are kept, up to a number of bytes, for a client who may have lost them."""

    def __init__(self, most_kept: int = MOST_KEPT) -> None:
        self._most_kept = most_kept
        self._kept: deque[str] = deque()  # sent, perhaps not received
        self._unsent: deque[str] = deque()
        self._kept_bytes = 0
        self._sent = 0  # seq of the last one sent
        self.unread = 0
        """Bytes that wait to be sent."""

    @property
    def complete(self) -> bool:
        """Nothing waits to be sent."""
        return not self._unsent

    def put(self, text: str) -> None:
        """One more update."""
        self._unsent.append(text)
        self.unread += len(text)

    def take(self) -> str | None:
        """The next one to send, if there is one; it counts as sent."""
        if not self._unsent:
            return None
        text = self._unsent.popleft()
        self.unread -= len(text)
        self._sent += 1
        self._kept.append(text)
        self._kept_bytes += len(text)
        while self._kept_bytes > self._most_kept:
            self._forget()
        return text

    def ack(self, seq: int) -> None:
        """The client has everything up to `seq`."""
        while self._kept and self._sent - len(self._kept) + 1 <= seq:
            self._forget()

    def rewind(self, seq: int) -> None:
        """Send again what follows `seq`. Raises `Refusal` where that is not kept any more, or was never sent."""
        if seq > self._sent:
            raise Refusal("bad_hello", f"'updates' is {seq}, but {self._sent} were sent")
        if seq < self._sent - len(self._kept):
            raise Refusal("updates_gone", f"updates from {seq + 1} on are not kept any more: start a new session")
        self.ack(seq)
        self._unsent.extendleft(reversed(self._kept))
        self.unread += self._kept_bytes
        self._sent -= len(self._kept)
        self._kept.clear()
        self._kept_bytes = 0

    def _forget(self) -> None:
        self._kept_bytes -= len(self._kept.popleft())
