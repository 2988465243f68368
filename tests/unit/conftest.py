"""Hypothesis without a deadline: the reference rater is slow on purpose, and machines are busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("rating", deadline=None)
settings.load_profile("rating")
