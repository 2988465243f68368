"""The settings without what lacks its secret. A file that cannot be read may keep a way into the console from starting,
and never the calls: to them it makes no difference."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from charging.errors import ConfigError
from charging.settings import Config, Settings, completed
from charging.yaml_model import sorted_problems, validate
from charging.yaml_text import read_document


def config_for_calls(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read, check and complete the settings at ``path``, without the fronts and webhooks whose secrets are wrong; what
    is wrong with those is `Config.unread`. Raises ConfigError with every other problem found, and with these."""
    document = read_document(path)
    config, problems = completed(document, validate(document, Settings), environ)
    if config is None or len(problems) > len(config.unread):
        raise ConfigError(sorted_problems(problems))
    return without_unread(config)


def without_unread(config: Config) -> Config:
    """Leave out what lacks its secret. Mail stays: what there is to send waits until its server lets it in."""
    lacking = {one.path.partition(".")[0] for one in config.unread} & {"console", "customer_page"}
    hooks = {int(found[1]) for one in config.unread if (found := re.match(r"webhooks\[(\d+)\]", one.path))}
    kept = tuple(one for number, one in enumerate(config.settings.webhooks) if number not in hooks)
    changed = {name: None for name in lacking} | {"webhooks": kept}
    return replace(config, settings=config.settings.model_copy(update=changed))
