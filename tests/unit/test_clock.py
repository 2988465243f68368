"""The machine's clocks, and which boot of it their readings are of."""

from __future__ import annotations

from pathlib import Path

from charging.clock import Instant, SystemClock, boot_of_machine, parted_us


def test_a_boot_has_one_name_and_each_another(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        proc = tmp_path / name
        (proc / "sys/kernel/random").mkdir(parents=True)
        (proc / "sys/kernel/random/boot_id").write_text(f"{name}\n")
        (proc / "self/ns").mkdir(parents=True)
        (proc / "self/ns/time").symlink_to("time:[4026531834]")
        made.append(boot_of_machine(proc))
    assert made == ["a time:[4026531834]", "b time:[4026531834]"]


def test_a_machine_that_names_no_boot_has_readings_of_the_process_alone(tmp_path: Path) -> None:
    assert boot_of_machine(tmp_path) == ""


def test_two_processes_of_a_machine_read_the_same_clocks() -> None:
    assert SystemClock().boot == boot_of_machine()


def test_clocks_part_by_what_one_of_them_was_stepped() -> None:
    assert parted_us(Instant(10, 100), Instant(30, 150)) == 30
