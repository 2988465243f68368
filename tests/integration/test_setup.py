"""`.ci/setup`: what is locked is installed on any day, whatever was published or withdrawn since. And the Makefile."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.package_index import Index, Release, serving

ROOT = Path(__file__).parents[2]

COVER = Release("cover", "1.0", requires=["tomlish; extra == 'toml'"], extras=["toml"])
PLUGIN = Release("plugin", "1.0", requires=["cover[toml]>=1"])
TOMLISH = Release("tomlish", "1.0")
LOCKED = [COVER, PLUGIN, TOMLISH]
LATER = [
    Release("cover", "2.0", requires=["tomlish; extra == 'toml'"], extras=["toml"]),
    Release("plugin", "2.0", requires=["cover[toml]>=2"]),
    Release("tomlish", "2.0"),
]
LOCK = COVER.pin("[toml]") + PLUGIN.pin() + TOMLISH.pin()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the script alone, whose venv the tests share: each installs into what the one before has left."""
    made = tmp_path_factory.mktemp("checkout")
    (made / ".ci").mkdir()
    (made / ".ci" / "setup").write_bytes((ROOT / ".ci" / "setup").read_bytes())
    (made / ".ci" / "setup").chmod(0o755)
    return made


@pytest.fixture
def index() -> Iterator[Index]:
    with serving(Index([*LOCKED, *LATER])) as made:
        yield made


def set_up(folder: Path, url: str, lock: str = LOCK) -> tuple[int, list[str]]:
    """The exit code of the step and what it said, but for the line on the venv. What the venv had goes first."""
    (folder / "some.lock").write_text(lock)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    pip = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": url, "PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "0"}
    for left in folder.glob("venv/lib/python*/site-packages"):
        for name in ("cover", "plugin", "tomlish"):
            for path in [*left.glob(f"{name}*"), *left.glob(f"__pycache__/{name}.*")]:
                subprocess.run(["rm", "-rf", path], check=True)
    done = subprocess.run(
        [folder / ".ci" / "setup", "locked", "venv", "some.lock"],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env=environment | pip,
    )
    return done.returncode, [line for line in done.stderr.splitlines() if not line.startswith("setup: making ")]


def versions(folder: Path) -> dict[str, str]:
    (site,) = folder.glob("venv/lib/python*/site-packages")
    names = (path.name.removesuffix(".dist-info").split("-") for path in site.glob("*.dist-info"))
    return {name: version for name, version in names if name in {"cover", "plugin", "tomlish"}}


@pytest.mark.parametrize("extra", ["[toml]", ""], ids=["extras kept", "extras stripped"])
def test_what_is_locked_is_installed_though_each_has_a_newer_version(folder: Path, index: Index, extra: str) -> None:
    """Without extras in the lock, who resolves it meets `cover[toml]`'s newer version, which has no hash there.

    It is compiled, too: the service's user may not write there, and each start would compile all of it again."""
    assert set_up(folder, index.url, COVER.pin(extra) + PLUGIN.pin() + TOMLISH.pin()) == (0, [])
    assert versions(folder) == {"cover": "1.0", "plugin": "1.0", "tomlish": "1.0"}
    (site,) = folder.glob("venv/lib/python*/site-packages")
    assert {path.name.partition(".")[0] for path in site.glob("__pycache__/*.pyc")} >= {"cover", "plugin", "tomlish"}


def test_a_make_target_keeps_what_it_compiles() -> None:
    shown = subprocess.run(
        ["make", "--silent", "--eval", 'kept: ; @echo "<$$PYTHONDONTWRITEBYTECODE>"', "kept"],
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "<>\n"


def script(folder: Path) -> Path:
    """`.ci/test`, in a folder where it runs that folder's tests."""
    (folder / ".ci").mkdir()
    made = folder / ".ci" / "test"
    made.write_bytes((ROOT / ".ci" / "test").read_bytes())
    return made


def both_halves(folder: Path, pytest: str = f"{sys.executable} -m pytest") -> subprocess.CompletedProcess[str]:
    """`make test` of a folder's own tests."""
    apart = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(
        ["sh", script(folder)],
        env=apart | {"PYTEST": pytest, "WORKERS": "0", "CALLERS": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("half", ["tests/asterisk", "tests/unit"])
@pytest.mark.parametrize("mended", [True, False])
def test_what_failed_is_run_once_more_and_nothing_else_is(tmp_path: Path, mended: bool, half: str) -> None:
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    for folder in ("tests/asterisk", "tests/unit"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / f"test_{Path(folder).name}.py").write_text("def test_sound(): pass\n")
    (tmp_path / half / "test_twice.py").write_text(
        "from pathlib import Path\n"
        "def ran(name):\n"
        "    with Path('ran').open('a') as ran: ran.write(name)\n"
        "def test_sound(): ran('s')\n"
        f"def test_by_chance(): ran('c'); assert {mended} and 'c' in Path('ran').read_text()[:-1].replace('s', '')\n"
    )
    done = both_halves(tmp_path)
    assert (done.returncode == 0) is mended, done.stdout + done.stderr
    assert sorted((tmp_path / "ran").read_text()) == ["c", "c", "s"]
    assert done.stdout.count("== failed once, and run again alone:") == 1


def test_a_run_that_was_killed_is_not_made_good_by_running_what_failed_before(tmp_path: Path) -> None:
    """Only pytest's own word that tests failed (1) brings the second run: a killed run has run nearly nothing."""
    (tmp_path / "killed").write_text("echo ran >>ran; exit 137\n")
    assert both_halves(tmp_path, pytest="sh killed").returncode == 137
    assert (tmp_path / "ran").read_text().split() == ["ran", "ran"], "each half once"


def test_all_other_tests_leave_the_processors_to_the_calls(tmp_path: Path) -> None:
    """By the nice value of each process, and of its session, where Linux goes by that (sched(7), autogroup)."""
    (tmp_path / "half").write_text(
        'case "$*" in *--ignore*) half=others;; *) half=calls;; esac; nice >$half; nice -n 5 nice >>$half\n'
        "cat /proc/self/autogroup >>$half\n"
    )
    both_halves(tmp_path, pytest="sh half")
    calls, others = [(tmp_path / half).read_text().split() for half in ("calls", "others")]
    assert int(others[0]) >= min(int(calls[0]) + 10, 19)
    assert others[0] == others[1], "what gives way to a daemon is not behind the other tests"
    if len(calls) > 2:
        assert (calls[-1], others[-1]) == ("0", "10")


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_broken_off_leaves_nothing_of_either_half(tmp_path: Path, told: signal.Signals) -> None:
    pids = tmp_path / "pids"
    (tmp_path / "half").write_text("sleep 300 & echo $! $$ >>pids; wait\n")
    run = subprocess.Popen(
        ["env", "--default-signal=INT", "sh", script(tmp_path)],
        env=os.environ | {"PYTEST": "sh half"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: pids.exists() and len(pids.read_text().split()) == 4, "both halves run")
        run.send_signal(told)
        assert run.wait(60) == 130
        until(lambda: not any(runs(pid) for pid in pids.read_text().split()), "all that they had begun is gone")
    finally:
        run.kill()
        for pid in pids.read_text().split():
            if runs(pid):
                os.kill(int(pid), signal.SIGKILL)


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def runs(pid: str) -> bool:
    """Whether there is such a process, which is not one that has ended and that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_yanked_version_is_installed_and_told_with_what_to_do(folder: Path, index: Index) -> None:
    index.releases[0] = Release("cover", "1.0", COVER.requires, COVER.extras, yanked="breaks things")
    code, said = set_up(folder, index.url)
    assert code == 0
    assert said == [
        "setup: withdrawn by their authors (yanked), installed as locked: cover==1.0; "
        "to leave them: .ci/setup lock cover"
    ]
    assert versions(folder)["cover"] == "1.0"


@pytest.mark.parametrize("whole", [False, True], ids=["the version", "the package"])
def test_a_withdrawn_version_is_one_line_with_what_to_do(folder: Path, index: Index, whole: bool) -> None:
    index.releases = [one for one in index.releases if one.name != "cover" or (one.version != "1.0" and not whole)]
    code, said = set_up(folder, index.url)
    assert code == 1
    assert said == [
        "setup: cover[toml]==1.0 was withdrawn: the package index has no such file any more; take another version: "
        ".ci/setup lock cover (see .cache/pip.log)"
    ]


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (Release("tomlish", "1.0", tag="cp311-cp311-win_amd64"), "tomlish==1.0 has no wheel for this machine"),
        (Release("tomlish", "1.0", tag="cp399-cp399-manylinux_2_17_x86_64"), "tomlish==1.0 has no wheel for"),
        (Release("tomlish", "1.0", python=">=3.99"), "tomlish==1.0 has no wheel for this machine"),
    ],
    ids=["another system", "another Python", "another version of it"],
)
def test_a_version_that_is_there_for_other_machines_alone_is_not_told_as_withdrawn(
    folder: Path, index: Index, left: Release, told: str
) -> None:
    index.releases = [one for one in index.releases if one.name != "tomlish"] + [left]
    code, said = set_up(folder, index.url, COVER.pin("[toml]") + PLUGIN.pin() + left.pin())
    (line,) = said
    assert code == 1
    assert told in line
    assert "another Python, or take another version: .ci/setup lock tomlish" in line


def test_a_withdrawn_version_is_told_so_though_another_is_there_for_other_machines(folder: Path, index: Index) -> None:
    left = Release("tomlish", "2.0", tag="cp311-cp311-win_amd64")
    index.releases = [one for one in index.releases if one.name != "tomlish"] + [left]
    code, (line,) = set_up(folder, index.url)
    assert code == 1
    assert "tomlish==1.0 was withdrawn" in line


def test_a_file_that_is_another_than_was_locked_is_refused(folder: Path, index: Index) -> None:
    index.releases[0] = Release("cover", "1.0", requires=["something-else"])
    code, (line,) = set_up(folder, index.url)
    assert code == 1
    assert line.startswith("setup: cover[toml]==1.0 is not what was locked: its file has another hash")


def test_an_index_that_cannot_be_reached_is_not_taken_for_a_withdrawal(folder: Path) -> None:
    code, (line,) = set_up(folder, "http://127.0.0.1:9/simple")
    assert code == 1
    assert line.startswith("setup: the package index could not be reached")


def test_a_lock_that_lacks_something_is_told(folder: Path, index: Index) -> None:
    code, (line,) = set_up(folder, index.url, PLUGIN.pin())
    assert code == 1
    assert line.startswith("setup: the lock is incomplete: plugin 1.0 requires cover, which is not installed")


def test_a_production_venv_does_not_take_the_place_of_something_else(folder: Path) -> None:
    (folder / "precious").mkdir()
    done = subprocess.run(
        [folder / ".ci" / "setup", "production", "precious"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "setup: precious is there and is no venv; name another folder\n")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_sbom_names_what_runs_and_nothing_else() -> None:
    """`make sbom` checks it against the schema of CycloneDX; this, that it is the lock of what runs."""
    subprocess.run(["make", "--silent", "sbom"], cwd=ROOT, check=True, timeout=590)
    components = json.loads((ROOT / "dist" / "sbom.json").read_text())["components"]
    named = {one["name"].lower().replace("_", "-"): one["version"] for one in components}
    pins = re.findall(
        r"^([a-z0-9._-]+)(?:\[.*?\])?==(\S+)(?: ;.*)?", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
    of_this_python = {name: version for name, version in pins if name != "async-timeout"}
    assert of_this_python.items() <= named.items()
    assert named.keys() - of_this_python.keys() <= {"pip", "setuptools", "wheel", "async-timeout"}


# --- known vulnerabilities ------------------------------------------------------------------------------------


def audited(*dependencies: object) -> tuple[list[str], int]:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    lines, code = module.verdict(json.loads(json.dumps(dependencies)))
    return lines, code


GOOD = {"name": "good", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"], "aliases": []}]}
UNKNOWN = {"name": "strange", "skip_reason": "not found"}


def test_a_known_vulnerability_fails_with_the_version_that_mends_it() -> None:
    assert audited(GOOD, BAD) == (["audit: bad 1: CVE-1, mended in 2; then: .ci/setup lock bad"], 1)


@pytest.mark.parametrize("dependencies", [[], [UNKNOWN]])
def test_a_feed_that_answers_nothing_is_no_clean_bill(dependencies: list[object]) -> None:
    assert audited(*dependencies) == (["audit: no feed of vulnerabilities could be reached: nothing was looked up"], 0)


def test_what_the_feed_does_not_know_is_named() -> None:
    assert audited(GOOD, UNKNOWN) == (
        ["audit: no known vulnerability in 1 packages", "audit: not known to the feed, so not looked up: strange"],
        0,
    )
