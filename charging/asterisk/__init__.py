"""The switch: AMI messages in, call control out.

``message``, ``shape``, ``translate`` and ``black_box`` are pure; ``connection`` speaks to one socket through
panoramisk, ``link`` keeps one connection alive for ever, ``control`` turns orders into actions.
"""

from __future__ import annotations
