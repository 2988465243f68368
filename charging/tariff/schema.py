"""The JSON Schema of ``tariff.yaml``, by which editors complete and check it while it is typed.

It is made from the models that read the file, and lies beside it as ``tariff.schema.json``. Editors type YAML
scalars themselves, so it takes a price as a number or as text; what it lets pass is still judged by
:func:`charging.tariff.file.load_tariff`.

    python -m charging.tariff.schema > config/tariff.schema.json
"""

from __future__ import annotations

import json
import sys
from typing import Any

from charging.tariff.model import TariffModel

NOT_FOR_EDITORS = ("default", "title")
"""Made by the library from internal values and names."""


def schema() -> dict[str, Any]:
    """The schema as plain values."""
    made = _without_noise(TariffModel.model_json_schema(mode="validation"))
    assert isinstance(made, dict)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tariff of the charging engine",
        **made,
    }


def schema_text() -> str:
    """The file's contents."""
    return json.dumps(schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _without_noise(value: Any, *, names: bool = False) -> Any:
    """``names``: the keys are those of the tariff, among which is ``title``."""
    if isinstance(value, dict):
        return {
            key: _without_noise(inner, names=key in ("properties", "$defs") and not names)
            for key, inner in value.items()
            if names or key not in NOT_FOR_EDITORS
        }
    return [_without_noise(inner) for inner in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.stdout.write(schema_text())
