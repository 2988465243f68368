"""What `charging init` lays down: every file that an operator would else copy out of the program, and where it goes.

Files are rendered for one place: paths of the settings, of the state and of the command stand in them. Secrets are made
apart and are no part of the rendered files, so whatever compares or shows those cannot show a secret.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from charging.cli.manual import bash_completion, man_page
from charging.notify.render import SHIPPED as SHIPPED_TEMPLATES
from charging.shipped import shipped_config, shipped_prompts

STATE = "var"
"""Where the settings that come with the program put the ledger, the socket and faxes, beside themselves."""
SECRET = "ami.secret"  # noqa: S105 - a file's name
SWITCH_SECRET = "asterisk/manager_secret.conf"  # noqa: S105 - a file's name
WHERE = "WHERE.md"
STANDARD_FOLDER = Path("/etc/charging")

_SHIPPED = (
    *("charging.yaml", "tariff.yaml", "tariff.schema.json", "decks/*.csv", "asterisk/*.conf", "asterisk/README.md"),
    *("systemd/*", "prometheus/prometheus.yml", "prometheus/charging_rules.yml", "grafana/*", "postfix/*"),
    "templates/README.md",
)
_INSTALLED = "/opt/charging/.venv/bin/charging"
"""The command as the shipped systemd units name it; Postfix's lines name it otherwise."""
_MAILED = "/usr/local/bin/charging --config /etc/charging/charging.yaml"
_ON_SWITCH = re.compile(r"/[A-Za-z0-9_./-]{0,200}")


@dataclass(frozen=True, slots=True)
class Site:
    """The place that files are made for; all values as they stand in the files."""

    folder: Path
    """For the settings; absolute."""
    state: Path | None
    """For ledger, socket and faxes, absolute; ``None``: ``folder/var``."""
    program: str
    """How the command is run, for example ``/opt/charging/.venv/bin/charging``."""
    prompts: Path | None = None
    """Where Asterisk finds the prompts, absolute; ``None``: ``folder/prompts``."""


def rendered(site: Site) -> dict[str, bytes]:
    """Return every file but the secrets, by its path within the folder. Raises ChargingError."""
    made: dict[str, bytes] = {}
    for path, source in _sources():
        content = source.read_bytes()
        edit = _EDITS.get(path.partition("/")[0])
        made[path] = edit(content.decode(), site).encode() if edit else content
    made["man/charging.1"] = man_page().encode()
    made["completion/charging"] = bash_completion().encode()
    made[WHERE] = where_each_goes(site).encode()
    return made


def made_secrets() -> dict[str, bytes]:
    """Make new secrets: the AMI password, for the daemon and for Asterisk. Raises ChargingError."""
    password = secrets.token_hex(24)
    template = (shipped_config() / "asterisk" / "manager_secret.conf.template").read_text(encoding="utf-8")
    (line,) = re.findall(r"^;secret =$", template, re.MULTILINE)
    head = (
        "; The password of the charging daemon's AMI login: the same as in ../ami.secret. Asterisk alone may read it.\n"
    )
    return {SECRET: f"{password}\n".encode(), SWITCH_SECRET: f"{head}[charging](+)\n{line[1:]} {password}\n".encode()}


def _sources() -> Iterator[tuple[str, Path]]:
    config, prompts = shipped_config(), shipped_prompts()
    for pattern in _SHIPPED:
        for source in sorted(config.glob(pattern)):
            yield source.relative_to(config).as_posix(), source
    for source in sorted(prompts.glob("*/*.wav")):
        yield f"prompts/{source.relative_to(prompts).as_posix()}", source
    for source in sorted(one for one in SHIPPED_TEMPLATES.rglob("*") if one.is_file()):
        yield f"templates/shipped/{source.relative_to(SHIPPED_TEMPLATES).as_posix()}", source


def _replaced(text: str, edits: Mapping[str, str]) -> str:
    for old, new in edits.items():
        assert old in text, f"the shipped files have no {old!r} any more"
        text = text.replace(old, new)
    return text


def _settings(text: str, site: Site) -> str:
    edits = {
        "    secret_env: CHARGING_AMI_SECRET\n": "    #secret_env: CHARGING_AMI_SECRET\n",
        "    #secret_file: /etc/charging/ami.secret\n": f"    secret_file: {SECRET}\n",
    }
    if site.state is not None:
        edits["sqlite:///var/"] = f"sqlite:///{site.state}/"
        edits[": var/"] = f": {site.state}/"
    prompts = site.prompts or site.folder / "prompts"
    if _ON_SWITCH.fullmatch(str(prompts)):
        edits["  #prompts_dir_on_switch: /usr/share/asterisk/sounds/charging\n"] = (
            f"  prompts_dir_on_switch: {prompts}\n"
        )
    return _replaced(text, edits)


def _unit(text: str, site: Site) -> str:
    return re.sub(r"file:///opt/charging/\S+", "man:charging(1)", text.replace(_INSTALLED, command(site)))


def _mail_line(text: str, site: Site) -> str:
    return text.replace(_MAILED, f"{site.program} --config {site.folder / 'charging.yaml'}")


_EDITS = {"charging.yaml": _settings, "systemd": _unit, "postfix": _mail_line}


def command(site: Site) -> str:
    """The command with the settings that it does not find by itself."""
    if site.folder == STANDARD_FOLDER:
        return site.program
    return f"{site.program} --config {shlex.quote(str(site.folder / 'charging.yaml'))}"


def where_each_goes(site: Site) -> str:
    """The page that says what each part is for and which commands put it where it works."""
    folder = shlex.quote(str(site.folder))
    parts = "\n".join(f"## {title}\n\n{text.format(folder=folder, command=command(site))}\n" for title, text in _PARTS)
    return f"# Where each of these goes\n\n{_HEAD.format(folder=folder, command=command(site))}\n\n{parts}"


_HEAD = """\
Made by `charging init`. Commands are for root, where nothing else is said. A later version lays down nothing over this:
`{command_alone}` says what ships differently then.""".replace("{command_alone}", "charging init {folder} --diff")

_PARTS = (
    (
        "charging.yaml, tariff.yaml, tariff.schema.json, decks/: stay here",
        """\
The settings, the prices and carriers' price lists. `{command} check` names every mistake.""",
    ),
    (
        "ami.secret, asterisk/manager_secret.conf: the AMI password, made for this place",
        """\
Only the daemon may read the first, only Asterisk the second (or its copy). Where they run as users of their own:

    chown root:charging {folder}/ami.secret && chmod 640 {folder}/ami.secret
    chown root:asterisk {folder}/asterisk/manager_secret.conf && chmod 640 {folder}/asterisk/manager_secret.conf""",
    ),
    (
        "asterisk/: /etc/asterisk/charging",
        """\
    ln -s {folder}/asterisk /etc/asterisk/charging
    setpriv --reuid=asterisk --regid=asterisk --init-groups head -n 1 /etc/asterisk/charging/charging-globals.conf

The second shows a line if Asterisk's user can read the folder. **An Asterisk that cannot read what it includes does not
start.** A home folder is closed to others, as Debian makes it; then, and on another machine, copy in place of the link:

    cp -r {folder}/asterisk /etc/asterisk/charging

Then the six `#include` lines of `asterisk/README.md`. Set the trunk in `charging-globals.conf`.""",
    ),
    (
        "prompts/: stay here, where Asterisk can read them",
        """\
`prompts_dir_on_switch` in `charging.yaml` names them, as Asterisk sees them. Where its user cannot read this folder,
and on another machine, copy them, and name the copy there:

    cp -r {folder}/prompts /usr/share/asterisk/sounds/charging""",
    ),
    (
        "systemd/: /etc/systemd/system",
        """\
    cp {folder}/systemd/* /etc/systemd/system/ && systemctl daemon-reload

What a unit expects (user, folders, state) stands at its top.""",
    ),
    (
        "prometheus/: the folder of your prometheus.yml",
        """\
    cp {folder}/prometheus/charging_rules.yml /etc/prometheus/

`prometheus.yml` shows the two entries that yours needs.""",
    ),
    ("grafana/charging.json: Grafana", "*Dashboards → New → Import*."),
    (
        "postfix/: /etc/postfix, only for faxes by mail",
        """\
Lines to add to `main.cf` and `master.cf`; `fax_recipients` is a file of its own.""",
    ),
    (
        "templates/: only to change the words of mails",
        """\
Copy those that you change out of `templates/shipped` to a folder of yours and name it in `charging.yaml`, as
`templates/README.md` tells.""",
    ),
    (
        "man/charging.1, completion/charging: the manual page, and completion for bash",
        """\
    install -Dm644 {folder}/man/charging.1 /usr/local/share/man/man1/charging.1
    install -Dm644 {folder}/completion/charging /usr/share/bash-completion/completions/charging

For yourself alone: `~/.local/share/man/man1/` and `~/.local/share/bash-completion/completions/`.""",
    ),
)
