"""Mails that are read at once, by whomever they are."""

from __future__ import annotations

from charging.fax.mail import Letter, read_head, with_document


def read_letter(data: bytes, *, envelope_sender: str | None = None, recipient: str = "") -> Letter | None:
    """The mail with its document, as a customer's is read; ``None``: it is dropped."""
    letter = read_head(data, envelope_sender=envelope_sender, recipient=recipient)
    return None if letter is None else with_document(letter, data)
