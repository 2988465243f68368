"""Stores the rules under which packs were given and monthly bundles were granted (`charging.pricing.packs`), as
documents that never change.

The rules are stored before the pack is given or the bundle granted. So any daemon can read the rules of everything that
an account has, long after the tariff has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from charging.errors import LedgerError, LedgerUnavailable
from charging.ledger.documents import Documents
from charging.pricing.packs import MONTHLY, PackTerms, edition_of, name_of

COLLECTION = "packs"


class GivenPacks:
    """Stores and reads the rules of packs and monthly bundles, with a cache of those it has read."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._known: dict[str, PackTerms] = {}
        self.kept: set[str] = set()
        """Editions of which a put was answered: not all that is read is stored for good."""

    async def keep(self, terms: PackTerms) -> None:
        """Keep the rules that a pack is about to be given, or a month granted, under. Raises LedgerUnavailable;
        LedgerError where others are kept under this edition."""
        if terms.edition in self.kept:
            return
        # Also what is there already is put: a master that is cut off from its replicas shows what a fail-over loses,
        # and answers no put (`docs/high-availability.md`).
        await self._documents.put_document(COLLECTION, terms.edition, terms.text())
        kept = await self._read(terms.edition)
        if kept is None or kept.edition != terms.edition:
            raise LedgerError(f"other rules are kept under {terms.edition}: give the pack another name")
        self._known[terms.edition] = kept
        self.kept.add(terms.edition)

    async def keep_monthly(self, terms: PackTerms | None) -> None:
        """Keep the rules of a plan's bundle (`Tariff.monthly_terms`) before a month may be granted under them. Raises
        as :meth:`keep` does."""
        if terms is not None:
            await self.keep(terms)

    async def editions(self, name: str) -> list[str]:
        """All that a pack was given under, also the one of older versions, which is its bare name. Raises
        LedgerUnavailable."""
        found, after = [name], f"{name}."
        while page := await self._documents.list_documents(COLLECTION, after):
            found += [one.id for one in page if one.id.startswith(f"{name}.")]
            if not page[-1].id.startswith(f"{name}."):
                break
            after = page[-1].id
        return found

    async def held(self, here: Mapping[str, PackTerms], balances: Iterable[str]) -> Mapping[str, PackTerms]:
        """The rules of the packs and months' bundles among these balances, by edition. ``here``: those of the tariff
        (`Tariff.terms`): they need no look, and stand in for an edition that is lost. Raises LedgerUnavailable."""
        found: dict[str, PackTerms] = {}
        for balance in balances:
            edition = edition_of(balance)
            if "." not in edition or edition in found:
                continue
            today = here.get(_today(balance))
            is_today = today is not None and today.edition == edition
            terms = today if is_today else await self._terms(edition) or today
            if terms is not None:
                found[edition] = terms
        return found

    async def lost(self, balances: Iterable[str]) -> list[str]:
        """The balances whose rules are not stored, or do not match the digest in the name. Raises LedgerUnavailable."""
        found = []
        for balance in balances:
            edition = edition_of(balance)
            if "." not in edition or edition in self._known:
                continue
            try:
                terms = await self._read(edition)
            except LedgerUnavailable:
                raise
            except LedgerError:
                terms = None
            if terms is None or terms.edition != edition:
                found.append(balance)
            else:
                self._known[edition] = terms
        return found

    async def _terms(self, edition: str) -> PackTerms | None:
        if edition not in self._known:
            read = await self._read(edition)
            if read is None:
                return None
            self._known[edition] = read
        return self._known[edition]

    async def _read(self, edition: str) -> PackTerms | None:
        stored = await self._documents.get_document(COLLECTION, edition)
        try:
            return None if stored is None else PackTerms.read(edition, stored.body)
        except ValueError as error:
            raise LedgerError(f"the rules of the pack {edition} cannot be read: {error}") from error


def _today(balance: str) -> str:
    """The key in `Tariff.terms` of the pack or bundle of which a balance names an edition."""
    kind, name = balance.partition(":")[0], name_of(balance)
    return f"{kind}:{name}" if kind.startswith(MONTHLY) else name
