"""The patterns of texts in requests, as the OpenAPI document states them for other programs.

These patterns only describe. The service checks what it is given, and its errors say what it expected. A test sends the
running application texts that the patterns allow and texts that they forbid.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.fields import FieldInfo

from charging.service import text

_NAME = r"[A-Za-z0-9:._-]{1,64}"

DIGEST = r"^[0-9a-f]{16}$"
AMOUNT = r"^[+-]?[0-9]{1,9}([.,][0-9]{1,2})?$"
EXACT_AMOUNT = r"^\+?[0-9]{1,9}([.,][0-9]{1,6})?$"
WHOLE = r"^[+-]?[0-9]{1,6}$"
ACCOUNT = r"^[a-z0-9][a-z0-9._-]{0,63}$"
EMAIL = rf"^({text.EMAIL})?$"
KEY = r"^[!-~]{1,128}$"
MAILBOX = r"^[A-Za-z0-9_-]{0,40}$"
MONTH = r"^20[0-9]{2}-(0[1-9]|1[0-2])$"
NUMBER = r"^\+?[0-9][0-9 ().-]{0,38}$"
REASON = rf"^[^{text.UNSEEN}]*[^\s{text.UNSEEN}][^{text.UNSEEN}]*$"
"""Half of a surrogate pair is refused too; most engines of patterns cannot say it."""
JOURNAL_CURSOR = r"^[1-9][0-9]{0,14}$"
CALL_CURSOR = rf"^{_NAME}$"
CDR_CURSOR = rf"^[0-9]{{1,16}}\.{_NAME}$"
DECISION_CURSOR = r"^[0-9]{16}-[0-9]{2}-[0-9a-f]{8,24}\.[0-9]{1,2}$"
EVENT_CURSOR = r"^(0|[1-9][0-9]{0,14}(-[0-9a-f]{8})?)$"
FEED_CURSOR = r"^(0|[1-9][0-9]{0,15})(\.[1-9][0-9]?)?$"
FEED_AFTER = r"^(end|(0|[1-9][0-9]{0,15})(\.[1-9][0-9]?)?)$"
CHANGE_CURSOR = r"^[0-9]{16}-[0-9a-f]{8}$"
ACTOR = r"^[a-z]{1,16}(:[!-~]{1,80})?$"
_DAY = r"20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_HOUR = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = rf"[T ]{_HOUR}(:[0-5][0-9](\.[0-9]{{1,6}})?)?(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])?"
MOMENT = rf"^{_DAY}({_TIME})?$"
ABOUT = rf"^({_HOUR}|{_DAY}{_TIME})$"


def told(pattern: str, **field: object) -> FieldInfo:
    """A field whose document tells its pattern."""
    made: FieldInfo = Field(json_schema_extra={"pattern": pattern}, **field)  # type: ignore[call-overload]
    return made


AccountId = Annotated[str, told(ACCOUNT, max_length=500)]
Amount = Annotated[str, told(AMOUNT, max_length=100, description="euro, such as 12.50", examples=["12.50"])]
Email = Annotated[str, told(EMAIL, max_length=254)]
Mailbox = Annotated[str, told(MAILBOX, max_length=500)]
PhoneNumber = Annotated[str, told(NUMBER, max_length=500, examples=["+31201234567"])]
ForwardTo = Annotated[str, told(rf"^$|{NUMBER}", max_length=500, description="empty: not forwarded")]
Reason = Annotated[str, told(REASON, max_length=500)]
OptionalReason = Annotated[str, told(rf"^$|{REASON}", max_length=500)]
