"""A stream as a ReactiveX observable, for those who compose as diart does (extra `rx`).

    from_source(microphone).pipe(updates(live.start())).subscribe(on_next=print)

Sources, blocks and sinks are plain iterators and callables: an observable is one more way to connect them. Operators
keep no state between subscriptions but what a `Stream` is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from diarist.audio.sinks.accumulator import Accumulator
from diarist.core.protocols import Sink
from diarist.core.time import SAMPLE_RATE
from diarist.core.types import Diarization, Float32, Update
from diarist.errors import ExtraError, UsageError
from diarist.pipelines.blocks import Rolling
from diarist.pipelines.flow import Listener
from diarist.pipelines.live_config import LiveConfig

if TYPE_CHECKING:
    from reactivex import Observable

_DEFAULTS = LiveConfig()
Operator = Callable[[Any], Any]


def from_source(items: Iterable[Any]) -> Observable[Any]:
    """Any iterable (a source, `updates(...)`, `rolling(...)`) as an observable.

    It is iterated where it is subscribed to, and the subscription returns at its end; `subscribe(...,
    scheduler=NewThreadScheduler())` does so in a thread of its own. Disposing ends it at the next item. An error goes
    to `on_error`. Raises `ExtraError` without reactivex.
    """
    reactivex = _package()
    from reactivex.disposable import BooleanDisposable
    from reactivex.scheduler import CurrentThreadScheduler

    def subscribe(observer: Any, scheduler: Any = None) -> Any:
        disposed = BooleanDisposable()

        def play(*_: Any) -> None:
            try:
                for item in items:
                    if disposed.is_disposed:
                        return
                    observer.on_next(item)
            except Exception as error:
                observer.on_error(error)
                return
            observer.on_completed()

        (scheduler or CurrentThreadScheduler.singleton()).schedule(play)
        return disposed

    found: Observable[Any] = reactivex.create(subscribe)
    return found


def regularize_audio_stream(
    sample_rate: int = SAMPLE_RATE, duration: float = _DEFAULTS.duration, step: float = _DEFAULTS.step
) -> Operator:
    """Blocks of any length to windows of `duration` seconds every `step` seconds; the tail is filled up with silence:
    see `blocks.Rolling`."""

    def begin() -> tuple[Callable[[Float32], list[Float32]], Callable[[], list[Float32]]]:
        rolling = Rolling(sample_rate, duration, step)
        return rolling.push, rolling.finish

    return _operator(begin)


def updates(stream: Listener) -> Operator:
    """Blocks to what a stream says of them; the last update comes when the blocks end. For one subscription."""
    return _operator(lambda: (lambda block: [stream.push(block)], lambda: [stream.finish()]))


def accumulate_output(uri: str = "stream") -> Operator:
    """Updates to the answer so far, as a `Diarization`."""

    def begin() -> tuple[Callable[[Update], list[Diarization]], Callable[[], list[Diarization]]]:
        kept = Accumulator(uri)

        def push(update: Update) -> list[Diarization]:
            kept.write(update)
            return [kept.diarization]

        return push, list

    return _operator(begin)


def buffer_slide(size: int) -> Operator:
    """Each item to the list of the last `size` ones, oldest first, fewer at the beginning."""
    if size < 1:
        raise UsageError(f"a buffer holds 1 item or more, not {size}")

    def begin() -> tuple[Callable[[Any], list[list[Any]]], Callable[[], list[list[Any]]]]:
        held: list[Any] = []

        def push(item: Any) -> list[list[Any]]:
            held.append(item)
            del held[:-size]
            return [list(held)]

        return push, list

    return _operator(begin)


def write_to(*sinks: Sink) -> Operator:
    """The same updates, written to sinks on their way; these are closed at the end, after an error too."""

    def operator(source: Any) -> Any:
        from reactivex import operators

        def write(update: Update) -> None:
            for sink in sinks:
                sink.write(update)

        def close() -> None:
            from diarist.pipelines.flow import close_all

            close_all(sinks)

        return source.pipe(operators.do_action(on_next=write), operators.finally_action(close))

    return operator


def _operator(begin: Callable[[], tuple[Callable[[Any], Iterable[Any]], Callable[[], Iterable[Any]]]]) -> Operator:
    """An operator from what to do with an item and at the end, made anew for each subscription."""
    reactivex = _package()

    def operator(source: Any) -> Any:
        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            push, finish = begin()

            def guarded(work: Callable[..., Iterable[Any]], *arguments: Any) -> bool:
                try:
                    for item in work(*arguments):
                        observer.on_next(item)
                except Exception as error:
                    observer.on_error(error)
                    return False
                return True

            def completed() -> None:
                if guarded(finish):
                    observer.on_completed()

            return source.subscribe(lambda item: guarded(push, item), observer.on_error, completed, scheduler=scheduler)

        return reactivex.create(subscribe)

    return operator


def _package() -> Any:
    try:
        import reactivex
    except ImportError as error:
        raise ExtraError("reactivex", "rx", "an observable") from error
    return reactivex
