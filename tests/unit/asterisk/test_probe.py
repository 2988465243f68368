"""Which modules a call inside the switch finds, of those that no order of AMI shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from charging.asterisk import variables
from charging.asterisk.probe import Probe
from tests.fakes.clock import FakeClock


class Inside(Probe):
    """Of a call that is up; its channel has these variables."""

    def __init__(self, there: Mapping[str, str]) -> None:
        link: Any = None
        super().__init__(link, FakeClock())
        self._inside.variable = self._variable  # type: ignore[method-assign]
        self.there = there

    async def _variable(self, channel: str, name: str) -> str:
        assert channel == "end-2"
        return self.there.get(name, "")

    async def modules(self) -> dict[str, bool]:
        return await self._modules("end-2")


@pytest.mark.parametrize(("status", "is_there"), [("NOAPP", False), ("FAILED", True), ("SUCCESS", True)])
async def test_agi_is_missing_where_asterisk_knows_no_such_application(status: str, is_there: bool) -> None:
    assert await Inside({variables.TRY_STATUS: status}).modules() == {"res_agi": is_there}


async def test_a_function_is_missing_where_it_answered_nothing() -> None:
    seen = await Inside({variables.AT_WORK: "func_env1:func_shell:func_global1"}).modules()
    assert seen == {"func_env": True, "func_shell": False, "func_global": True}


async def test_an_older_dialplan_tells_nothing_of_them() -> None:
    assert await Inside({}).modules() == {}
