"""The lab's folder: configuration files filled in, tones made, and a place for what is recorded.

The folder has the same path outside and inside the Asterisk installation's root: where that root is not ``/``, the
folder lies inside the root and the outside path is a symbolic link to it. So no mount is needed, and none can be left
behind.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from charging.lab.audio import write_tone
from charging.lab.errors import LabError
from charging.shipped import shipped_config, shipped_prompts

CONF = Path(__file__).parent / "conf"
SHIPPED_CONFIG = shipped_config() / "asterisk"
SHIPPED_PROMPTS = shipped_prompts()
PREFIX = "charging-lab-"
SUBFOLDERS = ("etc", "run", "db", "spool", "log", "recordings", "tones")
EMPTY_FILES = (
    "ccss.conf",
    "cdr.conf",
    "cel.conf",
    "cli.conf",
    "codecs.conf",
    "dsp.conf",
    "musiconhold.conf",
    "pjproject.conf",
    "res_fax.conf",
    "udptl.conf",
)

MAILBOX_OPTIONS = "minsecs=2|maxsecs=180"

CALLER_TONE_HZ = 1000
MOBILE_TONE_HZ = 600
TONE_S = 60


class LabFolder:
    """One lab's files; :meth:`remove` takes everything away."""

    def __init__(self, root: Path) -> None:
        _sweep(root)
        self._inside = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_temporary(root)))
        self._lock_fd = os.open(self._inside / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
        self.path = self._inside if root == Path("/") else _link(self._inside)

    def remove(self) -> None:
        if self.path.is_symlink():
            self.path.unlink()
        shutil.rmtree(self._inside, ignore_errors=True)
        os.close(self._lock_fd)


def _temporary(root: Path) -> Path:
    return Path(tempfile.gettempdir()) if root == Path("/") else root / "tmp"


def _link(inside: Path) -> Path:
    """The same path outside as ``inside`` has within the root, which is always in its ``/tmp``."""
    outside = Path("/tmp") / inside.name  # noqa: S108 - must equal the path within the root; the name is unguessable
    outside.symlink_to(inside)
    return outside


def _sweep(root: Path) -> None:
    """Remove the folders of labs whose owner was killed: those whose lock nobody holds."""
    for folder in _temporary(root).glob(f"{PREFIX}*/"):
        try:
            fd = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            if root != Path("/"):
                (Path("/tmp") / folder.name).unlink(missing_ok=True)  # noqa: S108 - as in _link
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(fd)


def lay_out(folder: Path, role: str, values: Mapping[str, object]) -> None:
    """Write the files of one Asterisk (``switch`` or ``world``) into ``folder``."""
    for name in SUBFOLDERS:
        (folder / name).mkdir(parents=True)
    for name in EMPTY_FILES:
        shutil.copy(CONF / "other.conf", folder / "etc" / name)
    for template in [*CONF.glob("*.conf"), *(CONF / role).glob("*.conf")]:
        text = _fill(template, {"FOLDER": folder, **values})
        (folder / "etc" / template.name).write_text(text)


def _fill(template: Path, values: Mapping[str, object]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise LabError(f"{template}: nothing to put for {match[0]}")
        return str(values[match[1]])

    return re.sub(r"@([A-Z_]+)@", value, template.read_text())


def write_tones(folder: Path) -> None:
    """The voices of the two parties: steady tones of different pitch."""
    write_tone(folder / "tones" / "caller.wav", CALLER_TONE_HZ, TONE_S)
    write_tone(folder / "tones" / "mobile.wav", MOBILE_TONE_HZ, TONE_S)


def laid_down_secret(config: Path) -> str:
    """The AMI password that ``charging init`` has made in ``config``; empty: it is no folder of its making."""
    made = config / "manager_secret.conf"
    found = re.search(r"(?m)^secret = (\S+)$", made.read_text()) if made.exists() else None
    return found[1] if found else ""


def include_shipped(folder: Path, config: Path, operator_settings: Mapping[str, str], ami_secret: str) -> None:
    """Do what ``config/asterisk/README.md`` asks of an operator."""
    charging = folder / "etc" / "charging"
    shutil.copytree(config, charging)
    globals_file = charging / "charging-globals.conf"
    globals_file.write_text(_set_globals(globals_file.read_text(), operator_settings))
    if laid_down_secret(config):
        return
    template = (charging / "manager_secret.conf.template").read_text()
    (charging / "manager_secret.conf").write_text(template.replace(";secret =", f"secret = {ami_secret}"))


def _set_globals(text: str, settings: Mapping[str, str]) -> str:
    for key, value in settings.items():
        line = f"{key} = {value}".replace("\\", r"\\")
        text, count = re.subn(rf"(?m)^{key} = .*$", line, text)
        if count != 1:
            raise LabError(f"charging-globals.conf has no {key} to set")
    return text


def write_mailboxes(folder: Path, mailboxes: Iterable[str], options: str = MAILBOX_OPTIONS) -> None:
    """The subscribers' mailboxes; ``options`` as ``voicemail_charging.conf`` recommends them."""
    lines = [f"{mailbox} => 1234,Subscriber {mailbox},,,{options}" for mailbox in mailboxes]
    (folder / "etc" / "lab_mailboxes.conf").write_text("\n".join(lines) + "\n")


def copy_prompts(folder: Path, prompts: Path) -> Path:
    """Put the audio prompts where the switch can see them; gives that path."""
    target = folder / "prompts"
    target.mkdir()
    for audio in prompts.glob("*/*.wav"):
        (target / audio.parent.name).mkdir(exist_ok=True)
        shutil.copy(audio, target / audio.parent.name / audio.name)
    return target
