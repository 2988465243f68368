"""What schemathesis is told beside the OpenAPI document: which refusals no schema can foretell.

A request whose form is right may be refused with 422 only for what lies beyond its form: a rule of the service or the
tariff (``not_allowed``), a number that no telephone has, a day that no month has, a plan or pack that no tariff has;
a fax also for whatever stands against it (its ``obstacle``): bytes that are no document have the right form too.
"""

from __future__ import annotations

import re
from typing import Any

import schemathesis

from charging.lab import fax_machine
from tests.fakes.documents import pdf

ONE_PAGE = pdf(1)

BEYOND_FORM = re.compile(
    "expected a telephone number|expected the number itself behind|found plan|found the pack|expected a day such as"
    "|expected a day within|expected one of account and plan"
    "|expected an amount, since no account|expected an amount of nothing"
    "|found an amount of nothing|found '', expected a reason|expected the earlier one as since"
    "|found at beside since or until"
)


@schemathesis.check
def a_right_form_is_refused_by_rules_only(ctx: Any, response: Any, case: Any) -> None:
    """In place of positive_data_acceptance, which knows no rules."""
    if response.status_code != 422 or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    problem = response.json()
    beyond_form = problem["code"] == "not_allowed" or problem["obstacle"] or BEYOND_FORM.search(problem["detail"])
    if not beyond_form:
        raise AssertionError(f"a request of the right form was refused: {problem['detail']}")


@schemathesis.serializer("application/pdf", "image/tiff")
def bytes_as_they_are(ctx: Any, value: Any) -> Any:
    """Of a document that is the whole body."""
    return value


@schemathesis.hook
def before_call(ctx: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Of the faxes that have the right form half are such as can be priced: no schema knows what a tariff covers."""
    if case.method != "POST" or not case.path.endswith("/faxes"):
        return
    if case.meta is not None and case.meta.generation.mode.is_positive and len(case.headers["Idempotency-Key"]) % 2:
        case.path_parameters["account"] = "anna"
        case.query = {"target": fax_machine.receives(1)}
        kwargs["data"] = ONE_PAGE
