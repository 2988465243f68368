"""The files that come with the program beside its code: configuration, prompts."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from charging.errors import ChargingError


def shipped_config() -> Path:
    """The configuration to begin with. Raises ChargingError."""
    return _shipped() / "config"


def shipped_prompts() -> Path:
    """The audio prompts, a folder for each language, and what they say. Raises ChargingError."""
    return _shipped() / "prompts"


def _shipped() -> Path:
    """Within the package where it was installed from a wheel, beside it in a checkout."""
    package = Path(str(files("charging")))
    for folder in (package / "data", package.parent):
        if (folder / "config" / "charging.yaml").is_file():
            return folder
    raise ChargingError(
        "this installation came without its configuration files; install it from its wheel or a checkout"
    )
