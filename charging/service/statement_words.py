"""The words on a statement, in the languages that customers read. Pure."""

from __future__ import annotations

from charging.ledger.accounts import Language

MONTHS = {
    Language.NL: ("januari februari maart april mei juni juli augustus september oktober november december").split(),
    Language.EN: ("January February March April May June July August September October November December").split(),
}

SHORT_MONTHS = {
    Language.NL: "jan feb mrt apr mei jun jul aug sep okt nov dec".split(),
    Language.EN: "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(),
}

_DUTCH = {
    "title": "Overzicht",
    "account": "Account",
    "goes_on": "Deze maand loopt nog: er kan nog iets bijkomen.",
    "opening": "Beginsaldo",
    "closing": "Eindsaldo",
    "top_ups": "Opgewaardeerd",
    "usage": "Verbruik",
    "others": "Correcties en vervallen tegoed",
    "vat": "waarvan {parts}",
    "vat_part": "{amount} btw ({rate})",
    "and": " en ",
    "vat_note": "Verbruik is inclusief {rates} btw. Opwaarderen is kopen van tegoed; btw is verschuldigd bij verbruik.",
    "zone_note": "Tijden zijn die van {zone}.",
    "free_used": "Gratis minuten gebruikt",
    "free_detail": "van {granted}; over: {left}, vervallen: {expired}",
    "when": "Datum",
    "what": "Omschrijving",
    "duration": "Duur",
    "free": "Gratis",
    "amount": "Bedrag",
    "balance": "Saldo",
    "nothing": "In deze maand is er niets van het tegoed af- of bijgeschreven.",
    "call": "Doorgeschakeld gesprek",
    "voicemail": "Voicemailbericht",
    "fax": "Verzonden fax",
    "fax_detail": "pagina's: {pages}",
    "call_detail": "van {caller} naar uw nummer {number}",
    "unknown_caller": "een onbekend nummer",
    "continued": "Vervolg: {what}",
    "goes_over": "de rest van het bedrag staat in het overzicht van de volgende maand",
    "began": "begonnen op {when}",
    "top_up": "Opwaardering",
    "correct": "Correctie",
    "expire": "Vervallen tegoed",
}
_ENGLISH = {
    "title": "Statement",
    "account": "Account",
    "goes_on": "This month is not over: more can come.",
    "opening": "Opening balance",
    "closing": "Closing balance",
    "top_ups": "Topped up",
    "usage": "Usage",
    "others": "Corrections and expired credit",
    "vat": "of which {parts}",
    "vat_part": "{amount} VAT ({rate})",
    "and": " and ",
    "vat_note": "Usage includes {rates} VAT. A top-up buys credit; VAT is due when the credit is used.",
    "zone_note": "Times are those of {zone}.",
    "free_used": "Free minutes used",
    "free_detail": "of {granted}; left: {left}, expired: {expired}",
    "when": "Date",
    "what": "Description",
    "duration": "Duration",
    "free": "Free",
    "amount": "Amount",
    "balance": "Balance",
    "nothing": "Nothing was added to or taken from the credit this month.",
    "call": "Forwarded call",
    "voicemail": "Voicemail message",
    "fax": "Fax sent",
    "fax_detail": "pages: {pages}",
    "call_detail": "from {caller} to your number {number}",
    "unknown_caller": "an unknown number",
    "continued": "Continued: {what}",
    "goes_over": "the rest of the amount is on the next month's statement",
    "began": "begun on {when}",
    "top_up": "Top-up",
    "correct": "Correction",
    "expire": "Expired credit",
}
WORDS = {Language.NL: _DUTCH, Language.EN: _ENGLISH}
