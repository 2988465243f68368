"""A wrapper around a store that measures how long each operation took, and how it ended."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import Any, Protocol, cast

from charging.clock import MICROSECONDS, Clock
from charging.errors import LedgerError
from charging.ledger.model import Applied, Outcome, Transfer
from charging.ledger.port import Store, Wanted


class Measure(Protocol):
    """Called after every operation. ``outcome`` is the ledger's own, ``answered``, or the error's name. ``times``: so
    many took as long, and ended so, together."""

    def __call__(self, operation: str, outcome: str, seconds: float, times: int = 1) -> None: ...


def metered(store: Store, clock: Clock, measure: Measure) -> Store:
    """``store`` with every awaited operation measured: ``measure`` gets its name, its outcome and its seconds."""
    return cast(Store, _Metered(store, clock, measure))


class LedgerHealth:
    """Whether the ledger can take the next call's money, judged by how the last operations ended. Successful reads do
    not count: a full disk and a demoted master still answer reads."""

    def __init__(self) -> None:
        self.why = ""
        """What keeps the ledger from taking money; empty: nothing."""

    def heard(self, operation: str, outcome: str) -> None:
        """As :class:`Measure`; of several that ended so together, one counts."""
        if outcome in _FAILURES and (operation == "ping" or outcome != "LedgerCorrupt") and operation != "backup":
            self.why = f"{operation}: {outcome}"
        elif operation in _WRITES or operation.startswith("apply_"):
            self.why = ""


_FAILURES = frozenset({"LedgerUnavailable", "LedgerCorrupt"})
"""Outcomes that count as failures. A failed backup does not (its own disk may be full), nor does LedgerCorrupt except
from ``ping`` (only one account may be damaged)."""
_WRITES = frozenset({"ping", "keep_session"})


PARTS = frozenset({"directory", "documents", "leases", "feed"})
"""What stands beside the ledger in a store."""


class _Metered:
    """A store, or a part of it."""

    def __init__(self, store: Any, clock: Clock, measure: Measure) -> None:
        self._store = store
        self._clock = clock
        self._measure = measure

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name in PARTS:
            method = _Metered(method, self._clock, self._measure)
        elif inspect.iscoroutinefunction(method):
            method = self._timed(name, method)
        self.__dict__[name] = method  # asked once
        return method

    def _timed(self, name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def timed(*arguments: Any, **options: Any) -> Any:
            operation = _operation(name, arguments)
            began = self._clock.now().mono_us
            outcome = "answered"
            try:
                result = await method(*arguments, **options)
                outcome = _outcome(result)
                return result
            except LedgerError as error:
                outcome = type(error).__name__
                raise
            finally:
                self._measure(operation, outcome, (self._clock.now().mono_us - began) / MICROSECONDS)

        return timed

    async def apply_all(self, wanted: Sequence[Wanted]) -> Sequence[Applied | LedgerError]:
        """Each is measured as if it had been asked alone: it took as long as all."""
        began = self._clock.now().mono_us
        answers: Sequence[Applied | LedgerError] = ()
        try:
            answers = await self._store.apply_all(wanted)
        except LedgerError as error:
            answers = [error] * len(wanted)
            raise
        finally:
            took_s = (self._clock.now().mono_us - began) / MICROSECONDS
            ended = ((transfer.kind, _outcome(answer)) for (transfer, _), answer in zip(wanted, answers, strict=False))
            for (kind, outcome), same in groupby(ended):
                self._measure(f"apply_{kind}", outcome, took_s, len(list(same)))
        return answers


def _operation(name: str, arguments: tuple[Any, ...]) -> str:
    """Transfers are told apart by their kind."""
    transfer = arguments[0] if arguments else None
    return f"{name}_{transfer.kind}" if isinstance(transfer, Transfer) else name


def _outcome(result: object) -> str:
    if isinstance(result, LedgerError):
        return type(result).__name__
    outcome = result.outcome if isinstance(result, Applied) else result
    return outcome.value if isinstance(outcome, Outcome) else "answered"
