"""What stands against a fax, in its sender's words: on the customers' page, and in the mail that goes back. Pure."""

from __future__ import annotations

from charging.ledger.accounts import Language
from charging.service.refusal import Obstacle

OBSTACLES: dict[Obstacle, tuple[str, str]] = {
    Obstacle.SUSPENDED: (
        "Uw account is opgeschort, zodat wij geen faxen voor u versturen. Neem contact met ons op.",
        "Your account is suspended, so that we send no faxes for you. Please contact us.",
    ),
    Obstacle.NO_OWN_NUMBER: (
        "Bij uw account hoort nog geen telefoonnummer om de fax mee te versturen. Neem contact met ons op.",
        "Your account has no telephone number yet to send the fax from. Please contact us.",
    ),
    Obstacle.INVALID_NUMBER: (
        "Het faxnummer bestaat niet. Schrijf het met het landnummer, bijvoorbeeld +31201234567.",
        "The fax number does not exist. Write it with the country's code, for example +31201234567.",
    ),
    Obstacle.PREMIUM_NUMBER: (
        "Naar betaalde servicenummers versturen wij geen faxen.",
        "We send no faxes to premium rate numbers.",
    ),
    Obstacle.BLOCKED_NUMBER: (
        "Naar dit nummer versturen wij geen faxen.",
        "We send no faxes to this number.",
    ),
    Obstacle.OPERATORS_NUMBER: (
        "Dit is een nummer van onszelf. Daarheen versturen wij geen faxen.",
        "This is a number of ours. We send no faxes to it.",
    ),
    Obstacle.NOT_COVERED: (
        "Naar deze bestemming versturen wij geen faxen.",
        "We send no faxes to this destination.",
    ),
    Obstacle.UNREADABLE: (
        "Wij kunnen het document niet lezen. Maak er een nieuwe PDF van en verstuur die.",
        "We cannot read the document. Print it to a new PDF and send that.",
    ),
    Obstacle.PROTECTED: (
        "Het document is beveiligd met een wachtwoord. Bewaar het zonder wachtwoord en verstuur dat.",
        "The document is protected by a password. Save it without one, and send that.",
    ),
    Obstacle.TOO_MANY_PAGES: (
        "Het document heeft te veel pagina’s. Verstuur het in delen.",
        "The document has too many pages. Send it in parts.",
    ),
    Obstacle.TOO_LARGE: (
        "Het document is te groot. Verstuur het in delen.",
        "The document is too large. Send it in parts.",
    ),
    Obstacle.UNPAID_LINE: (
        "Vandaag zijn te veel van uw faxen mislukt: aan de andere kant nam geen faxapparaat ze aan. Controleer de "
        "nummers en probeer het morgen opnieuw. Er is niets afgeschreven.",
        "Too many of your faxes failed today: no fax machine at the other end took them. Check the numbers, and try "
        "again tomorrow. Nothing was charged.",
    ),
    Obstacle.DAY_LIMIT: (
        "Gesprekken, berichten en faxen per e-mail mogen samen op één dag niet meer kosten dan bij uw abonnement "
        "hoort, en voor deze fax is vandaag niet genoeg over. Verstuur hem morgen opnieuw. Er is niets afgeschreven.",
        "Calls, messages and faxes by mail may cost no more in a day than your plan allows, and today too little of "
        "that is left for this fax. Send it again tomorrow. Nothing was charged.",
    ),
    Obstacle.PRICE: (
        "De prijs is intussen veranderd. De fax is niet verstuurd; bekijk de nieuwe prijs.",
        "The price has changed meanwhile. The fax was not sent; look at the new price.",
    ),
    Obstacle.TROUBLE: (
        "Door een storing bij ons is de fax niet verstuurd. Er is niets afgeschreven. Probeer het later opnieuw.",
        "Through a failure of ours the fax was not sent. Nothing was charged. Please try again later.",
    ),
}
"""In Dutch and in English."""


def obstacle_in_words(obstacle: Obstacle, language: Language) -> str:
    """A sentence or two."""
    return OBSTACLES[obstacle][0 if language is Language.NL else 1]
