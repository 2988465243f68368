"""Build the Debian packages: ``deb.py DIST``, with the wheels of ``make wheel`` in DIST. For Debian 12.

``charging`` has what runs, in a venv of its own under /usr/lib/charging: exactly what requirements.lock pins, by hash,
for Debian's Python 3.11, whatever Python builds it. ``charging-demo`` has the demo and the lab. Nothing is fetched when
they are installed. The same tree gives the same bytes (SOURCE_DATE_EPOCH: else the last commit's time).
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

from packaging.markers import Marker

from charging import __version__
from charging.cli.laid_down import Site, rendered

ROOT = Path(__file__).parents[1]
DEBIAN = Path(__file__).parent / "debian"
PYTHON = "3.11"
PYTHON_OF_DEBIAN = "3.11.2"
"""Older than what builds, maybe: what only it needs is installed, too."""
DEBIANS_PYTHON = {
    **{"python_version": PYTHON, "python_full_version": PYTHON_OF_DEBIAN, "implementation_version": PYTHON_OF_DEBIAN},
    **{"implementation_name": "cpython", "platform_python_implementation": "CPython"},
}
PROCESSORS = {"amd64": "x86_64", "arm64": "aarch64"}
GLIBC_MINOR = 36
"""Debian 12's glibc is 2.36."""
MAINTAINER = "Charging Project <charging@lists.invalid>"
PRIVATE = Path("usr/lib/charging")
PACKAGES = PRIVATE / "lib" / f"python{PYTHON}" / "site-packages"
PROMPTS = Path("/usr/share/asterisk/sounds/charging")
SITE = Site(Path("/etc/charging"), Path("/var/lib/charging"), "/usr/bin/charging", PROMPTS)
EXAMPLES = "usr/share/doc/charging/examples"
PLACES = {
    # A file that `charging init` would lay down: by the longest beginning of its path; an empty place is none.
    "charging.yaml": "etc/charging/charging.yaml",
    "tariff": "etc/charging/tariff",
    "decks/": "etc/charging/decks/",
    "asterisk/": "etc/asterisk/charging/",
    "prompts/": f"{PROMPTS.relative_to('/')}/",
    "systemd/": "lib/systemd/system/",
    "man/": "usr/share/man/man1/",
    "completion/": "usr/share/bash-completion/completions/",
    "WHERE.md": "",
    "": f"{EXAMPLES}/",
}
LAUNCHER = f"#!/{PRIVATE}/bin/python -I\nimport sys\n\nfrom charging.cli import main\n\nsys.exit(main())\n"


def main(dist: Path) -> None:
    """Build both into ``dist``; says which, and how large they are."""
    architecture = output("dpkg", "--print-architecture")
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or output("git", "-C", str(ROOT), "log", "-1", "--format=%ct"))
    packages = []
    for old in dist.glob("charging*.deb"):
        old.unlink()
    for name, of, fill in (("charging", architecture, fill_charging), ("charging-demo", "all", fill_demo)):
        tree = ROOT / ".cache" / "deb" / name
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        fill(tree, dist, architecture)
        document(tree, name, epoch)
        control(tree, name, of)
        set_modes(tree, epoch)
        package = dist / f"{name}_{__version__}_{of}.deb"
        subprocess.run(  # noqa: S603 - our own command
            ["dpkg-deb", "--root-owner-group", "-Zxz", "-z3", "--build", tree, package],  # noqa: S607
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
        )
        installed = sum(path.stat().st_size for path in files_of(tree)) / 1e6
        print(f"{package}: {package.stat().st_size / 1e6:.1f} MB, installed {installed:.0f} MB")
        shutil.rmtree(tree)
        packages.append(package)
    if shutil.which("lintian"):
        subprocess.run(["lintian", "--fail-on", "error", *packages], check=True)  # noqa: S603, S607


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


def install_libraries(packages: Path, dist: Path, architecture: str) -> None:
    """What the lock pins, by hash, for Debian's Python and this processor, from the index that pip is set up for."""
    lock = ROOT / ".cache" / "debian.lock"
    lock.write_text(lock_of_debian((dist / "requirements.lock").read_text()))
    glibc = (*(f"manylinux_2_{minor}" for minor in range(GLIBC_MINOR, 4, -1)), "manylinux2014", "linux")
    platforms = (word for one in glibc for word in ("--platform", f"{one}_{PROCESSORS[architecture]}"))
    python = "--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON
    target = packages.relative_to(ROOT), lock.relative_to(ROOT)
    done = subprocess.run([ROOT / ".ci" / "setup", "libraries", *target, *python, *platforms], check=False)  # noqa: S603
    if done.returncode:
        sys.exit(done.returncode)  # it has said why
    shutil.rmtree(packages / "bin", ignore_errors=True)


def lock_of_debian(lock: str) -> str:
    """The lock without what Debian's Python does not need; pip itself would ask the Python that builds."""
    kept: list[str] = []
    is_needed = True
    for line in lock.splitlines(keepends=True):
        if pin := re.match(r"(\S+==\S+)(?: ; (.*))? \\$", line):
            is_needed = pin[2] is None or Marker(pin[2]).evaluate({**DEBIANS_PYTHON})
            line = f"{pin[1]} \\\n"
        if is_needed:
            kept.append(line)
    return "".join(kept)


def fill_charging(tree: Path, dist: Path, architecture: str) -> None:
    """The venv, the command, and what `charging init` would lay down, each where Debian has it."""
    packages = tree / PACKAGES
    packages.mkdir(parents=True)
    install_libraries(packages, dist, architecture)
    unpack(next(dist.glob(f"charging-{__version__}-*.whl")), packages)
    (tree / PRIVATE / "bin").mkdir()
    (tree / PRIVATE / "bin" / "python").symlink_to(f"../../../bin/python{PYTHON}")
    (tree / PRIVATE / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {PYTHON_OF_DEBIAN}\n")
    write(tree / PRIVATE / "bin" / "charging", LAUNCHER.encode())
    (tree / "usr" / "bin").mkdir()
    (tree / "usr" / "bin" / "charging").symlink_to("../lib/charging/bin/charging")
    for path, content in rendered(SITE).items():
        beginning = max((one for one in PLACES if path.startswith(one)), key=len)
        if place := PLACES[beginning]:
            target = tree / (place + path.removeprefix(beginning))
            if place == PLACES["man/"]:
                write(target.with_name(target.name + ".gz"), packed(content))
            else:
                write(target, content)


def fill_demo(tree: Path, dist: Path, _architecture: str) -> None:
    unpack(next(dist.glob(f"charging_demo-{__version__}-*.whl")), tree / PACKAGES)


def unpack(wheel: Path, packages: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)


def document(tree: Path, name: str, epoch: int) -> None:
    """What Debian asks of /usr/share/doc: the licence, what changed, and a word to the administrator."""
    folder = tree / "usr" / "share" / "doc" / name
    line = f"{name} ({__version__}) bookworm; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n"
    line += f" -- {MAINTAINER}  {formatdate(epoch)}\n"
    write(folder / "changelog.gz", packed(line.encode()))
    write(folder / "copyright", (DEBIAN / "copyright").read_bytes())
    if (overrides := DEBIAN / name / "overrides").exists():
        write(tree / "usr" / "share" / "lintian" / "overrides" / name, overrides.read_bytes())
    if name == "charging":
        write(folder / "CHANGELOG.md.gz", packed((ROOT / "CHANGELOG.md").read_bytes()))
        write(folder / "README.Debian", (DEBIAN / "README.Debian").read_bytes())
        write(folder / "README.md", (ROOT / "README.md").read_bytes())
        for page in sorted((ROOT / "docs").glob("*.md")):
            write(folder / "docs" / page.name, page.read_bytes())


def control(tree: Path, name: str, architecture: str) -> None:
    """The folder DEBIAN: what dpkg knows of the package, and its scripts."""
    folder = tree / "DEBIAN"
    folder.mkdir()
    files = sorted(files_of(tree))
    size = sum(-(-path.lstat().st_size // 1024) for path in files)
    head = f"Package: {name}\nVersion: {__version__}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\n"
    head += f"Installed-Size: {size}\nSection: comm\nPriority: optional\n"
    (folder / "control").write_text(head + (DEBIAN / name / "control").read_text().replace("@VERSION@", __version__))
    sums = (f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n" for path in files)  # noqa: S324 - dpkg's
    own = [f"/{path.relative_to(tree)}\n" for path in files if path.is_relative_to(tree / "etc")]
    (folder / "md5sums").write_text("".join(sums))
    if own:
        (folder / "conffiles").write_text("".join(own))
    units = " ".join(sorted(path.name for path in files if path.is_relative_to(tree / "lib" / "systemd")))
    for script in (DEBIAN / name).iterdir():
        if script.name not in ("control", "overrides"):
            write(folder / script.name, script.read_text().replace("@UNITS@", units).encode())


def files_of(tree: Path) -> Iterator[Path]:
    """Files that are no links, but for the package's own."""
    return (path for path in tree.rglob("*") if path.is_file() and not path.is_symlink() and "DEBIAN" not in path.parts)


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def packed(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def set_modes(tree: Path, epoch: int) -> None:
    """The same modes and times whoever builds, under whatever umask."""
    programs = {tree / "DEBIAN" / name for name in ("preinst", "postinst", "prerm", "postrm")}
    programs.add(tree / PRIVATE / "bin" / "charging")
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
