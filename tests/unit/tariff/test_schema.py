"""The schema that editors use: it lies there as made, takes what is right and marks what is not."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest
import yaml

from charging.tariff.schema import schema, schema_text
from tests.unit.tariff.tariffs import SHIPPED, SMALL, changed

VALIDATOR = jsonschema_rs.validator_for(schema())


def complaints(text: str) -> list[str]:
    """What an editor would mark: it types scalars as YAML does (dates stay text, as in YAML 1.2)."""
    plain = json.loads(json.dumps(yaml.safe_load(text), default=str))
    return [error.message for error in VALIDATOR.iter_errors(plain)]


def test_the_schema_beside_the_tariff_is_the_one_that_the_models_make() -> None:
    assert SHIPPED.with_name("tariff.schema.json").read_text(encoding="utf-8") == schema_text()


def test_the_shipped_tariff_names_its_schema_and_pleases_it() -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    assert "# yaml-language-server: $schema=tariff.schema.json\n" in text
    assert complaints(text) == []
    assert complaints(SMALL) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("revision: small-1\n", ""),
        ("included: yes", "included: perhaps"),
        ("included: yes", "changes: [{valid_from: soon, percent: 9}]"),
        ("included: yes", "changes: [{valid_from: 2027-01-01}]"),
        ("22:00-06:00", "22:00"),
        ("price: 0.12", "price: -1"),
        ("price: 0.12", "price: free"),
        ("increments: 60/1", "incremnts: 60/1"),
        ("increments: 60/1", "increments: 60/1/1"),
        ("refuse: premium", "refuse: expensive"),
        ("days: [mon, tue", "days: [monday, tue"),
        ("minutes: 10", "minutes: ten"),
    ],
)
def test_a_mistake_is_marked_while_it_is_typed(old: str, new: str) -> None:
    assert complaints(changed(old, new))


@pytest.mark.parametrize("new", ["price: '0,12'", "price: 1", "price: 0.12, per: second", "price: 0.1, per: 30"])
def test_every_way_to_write_a_price_is_taken(new: str) -> None:
    assert complaints(changed("price: 0.12", new)) == []
