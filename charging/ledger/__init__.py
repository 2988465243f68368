"""The ledger: who owns what, what is set aside for running calls, and the journal that proves it."""

from __future__ import annotations
