"""A private, real Asterisk for the demo and the tests: no phone, no trunk, nothing outside this machine.

Two Asterisk processes are started side by side on loopback ports of their own. The *switch* runs the configuration
that this project ships, as an operator would include it. The *world* plays everyone else: outside callers and
subscribers' mobiles, real SIP and RTP parties whose received audio is recorded. Start with :class:`Lab`.
"""

from __future__ import annotations

from charging.lab.call import Call, CallState, MobileLeg
from charging.lab.errors import LabError, LabUnavailable
from charging.lab.lab import Lab

__all__ = ["Call", "CallState", "Lab", "LabError", "LabUnavailable", "MobileLeg"]
