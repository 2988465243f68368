"""Steps of the clocks of a simulated city: all machines have the same, as if one time server set them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charging.clock import MICROSECONDS

if TYPE_CHECKING:
    from tests.simulation.city import City

WATCH_S = 1
"""Within which a daemon sees a step (`charging.engine.sessions`)."""


class Steps:
    """All of them, and what of them a daemon may know nothing of."""

    def __init__(self, city: City) -> None:
        self._city = city
        self._all: list[tuple[int, float]] = []
        """When, monotonic, and by how many seconds."""
        self.unwatched: list[tuple[int, int, int]] = []
        """At which switch a daemon may have seen none, from when until when, monotonic."""
        self.ahead_s = 0.0
        """Of the right time, by all of them."""
        self.either_way_s = 0.0
        """All of them together."""

    def step(self, by_s: float) -> None:
        """Every machine's clock, as a wrong time server would."""
        city = self._city
        city.counts["clock stepped"] += 1
        city.clock.step_wall(by_s)
        for switch in city.switches:
            switch.clock_stepped(by_s)
        self.ahead_s += by_s
        self.either_way_s += abs(by_s)
        city.live(self._see())
        hidden = [self._taken_back(index, by_s) for index in range(city.setting.switches)]
        now_us = city.clock.now().mono_us
        self._all.append((now_us, by_s))
        for caller in city.callers:
            if caller.over_us is None or now_us - caller.over_us < city.setting.booked_within_us:
                caller.stepped_s += abs(by_s)
                since_us = caller.began_us - WATCH_S * MICROSECONDS
                caller.hidden_s += sum(taken_s for at_us, taken_s in hidden[caller.switch] if at_us >= since_us)
        for index in range(city.setting.switches):
            city.trouble(index, 2, seen=True)

    def _taken_back(self, switch: int, by_s: float) -> list[tuple[int, float]]:
        """The steps of before that one by ``by_s`` takes back now, and by how much, of which a daemon of the switch may
        know nothing: each came but a moment ago, or something was wrong since."""
        now_us = self._city.clock.now().mono_us
        hidden = []
        for at_us, other_s in (one for one in self._all if one[1] * by_s < 0):
            wrong = any(
                index == switch and since_us <= now_us and until_us >= at_us
                for index, since_us, until_us in self.unwatched
            )
            if wrong or now_us - at_us <= WATCH_S * MICROSECONDS:
                hidden.append((at_us, min(abs(by_s), abs(other_s))))
        return hidden

    def unseen_s(self) -> float:
        """By how much the clocks were stepped just now: who calls before the daemons have seen it is billed for
        less."""
        at_us, by_s = self._all[-1] if self._all else (0, 0.0)
        return abs(by_s) if self._city.clock.now().mono_us - at_us <= WATCH_S * MICROSECONDS else 0

    async def _see(self) -> None:
        """As soon as on a real machine, also where a story looks at its clocks seldom."""
        await self._city.wait(WATCH_S)
        for daemon in self._city.alive():
            if not daemon.process.is_frozen:
                daemon.registry.now()
