"""Errors of the lab itself."""

from __future__ import annotations

from charging.errors import ChargingError


class LabError(ChargingError):
    """The lab did not behave."""


class LabUnavailable(LabError):
    """There is no Asterisk on this machine and none could be installed."""
