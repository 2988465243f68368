"""What all tests share."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.fakes.clock import FakeClock

# The machines that run this are shared: how long one example takes says nothing.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")


# A shell starts what it runs in the background deaf to Ctrl-C, and so would be every process that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# structlog's own default writes each traceback with every local variable, which takes rich up to 30 s for one line.
PLAIN_LOGS = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[structlog.processors.add_log_level, PLAIN_LOGS])


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Without looks for garbage: of what is collected nothing ends, and they take half of each worker's time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()  # nor does later
        gc.enable()


@pytest.fixture(autouse=True, scope="module")
def _garbage_is_its_own() -> Iterator[None]:
    """What a file's tests have left open is told as the fault of its last test. It would else be that of whichever test
    of whichever file runs when Python next looks for garbage: one that fails by chance, and passes alone."""
    yield
    gc.collect()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(autouse=True)
def _logs_left_as_found() -> Iterator[None]:
    """A command that runs in this process silences the logs; the next test may listen to them."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a test that did not run is a failure: nothing there may pass by being left out."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    is_worker = hasattr(session.config, "workerinput")
    if os.environ.get("CI") != "true" or reporter is None or is_worker:
        return
    if reporter.stats.get("skipped") and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
