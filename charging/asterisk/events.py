from __future__ import annotations

from charging.session.switch_events import *  # noqa: F403
