"""Where the facility was; see :mod:`charging.ledger.documents`."""

from __future__ import annotations

from charging.ledger.documents import Document as Document
from charging.ledger.documents import Documents as Documents
from charging.ledger.documents import MemoryDocuments as MemoryDocuments
from charging.ledger.documents import Put as Put
