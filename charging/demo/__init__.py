"""``charging demo``: a real call on a private Asterisk, shown while it is decided, charged, warned and cut.

Everything that is shown was measured or asked of the product's own interfaces, and is checked at the end: a demo that
shows something wrong ends with exit code 1.
"""

from __future__ import annotations

from charging.demo.show import show_demo

__all__ = ["show_demo"]
