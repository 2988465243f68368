"""Ports for what runs side by side in tests: none is given twice, none is what the kernel may give to others."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from charging.lab import ports
from charging.lab.errors import LabError
from charging.lab.ports import BLOCK_SIZE, BLOCKS, FIRST_PORT, NAMED_PORTS, SINGLE_PORTS, free_port, take_block

DEALING = "from charging.lab.ports import free_port; print(*(free_port() for _ in range(200)))"


def test_processes_side_by_side_are_never_given_the_same_port() -> None:
    """Two ports asked of the kernel one after the other were the same once in a run of CI."""
    programs = [subprocess.Popen([sys.executable, "-c", DEALING], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    given = [port for program in programs for port in program.communicate()[0].split()]
    assert len(given) == len(set(given)) == 600


def test_a_port_that_somebody_listens_on_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = free_port(), free_port()
    monkeypatch.setattr(ports, "SINGLE_PORTS", [first, second])
    with socket.create_server(("127.0.0.1", first)):
        assert [free_port(), free_port()] == [second, second]
        with socket.create_server(("127.0.0.1", second)), pytest.raises(LabError, match="is free"):
            free_port()


def test_a_port_whose_second_one_is_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = free_port(10_000), free_port(10_000)
    monkeypatch.setattr(ports, "SINGLE_PORTS", [first, second])
    with socket.create_server(("127.0.0.1", first + 10_000)):
        assert [free_port(10_000), free_port(10_000)] == [second, second]


def test_ports_lie_below_those_of_the_kernel_and_beside_those_of_a_lab() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    named = {FIRST_PORT + block * BLOCK_SIZE + port for block in range(BLOCKS) for port in range(NAMED_PORTS)}
    assert max(*SINGLE_PORTS, *named) < lowest
    assert not named & {port + more for port in SINGLE_PORTS for more in (0, 10_000)}


def test_two_labs_have_blocks_of_their_own() -> None:
    one = take_block()
    other = take_block()
    assert one.base != other.base
    for block in (one, other):
        block.give_back()
