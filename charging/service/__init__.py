"""The service around the calls: accounts, numbers, money, and what people ask about them."""

from __future__ import annotations
