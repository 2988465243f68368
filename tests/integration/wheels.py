"""The wheels as `make wheel` builds them, in a venv that has nothing of the repository on its path."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAUNCHER = "#!{python} -I\nimport sys\nfrom charging.cli import main\nsys.exit(main())\n"


def build_wheel(project: Path, target: Path) -> Path:
    """The wheel of a project's folder."""
    before = set(target.glob("*.whl"))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target],
        cwd=project,
        check=True,
        capture_output=True,
    )
    (made,) = set(target.glob("*.whl")) - before
    return made


def install(folder: Path, wheels: Iterable[Path]) -> Path:
    """A venv with these wheels, and what they need from the tests' own; its command. No pip, and no network."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(site)
    # A folder that is named in a .pth has none of its own .pth obeyed: this package's checkout stays out of it.
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = folder / "bin" / "charging"
    command.write_text(LAUNCHER.format(python=folder / "bin" / "python"))
    command.chmod(0o755)
    return command
