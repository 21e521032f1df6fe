"""What every test may ask for: a real broker, topics on it, a line to cut, seeds."""

import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code
from hypothesis import settings

from tests.broker import Broker
from tests.broker.proxy import CuttableProxy
from tests.services import free_port, missing
from tests.services.crash_day import CrashDay

IN_CI = os.environ.get("CI") == "true"

# A shared machine is slow at times, which says nothing about the code. In CI the same examples run
# every time: a change is blamed only for what it did.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if IN_CI else "local")

MakeTopic = Callable[..., Awaitable[str]]


@pytest.fixture(scope="session")
def seeds() -> range:
    """Return the seeds of a long series."""
    return range(int(os.environ.get("LIQUIDATOR_SEEDS", "20")))


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """Run one broker for the whole session; tests share it and use topics of their own."""
    if reason := Broker.missing():
        pytest.skip(reason)
    with (
        tempfile.TemporaryDirectory(prefix="liquidator-broker-") as directory,
        Broker(Path(directory), extra_listener=free_port()) as started,
    ):
        yield started


@pytest.fixture(scope="session")
def crash_day(broker: Broker) -> Iterator[CrashDay]:
    """Play the worst minutes of the demo's day into a daemon that real servers watch, once."""
    if reason := missing("prometheus", "prometheus-alertmanager"):
        pytest.skip(reason)
    with (
        tempfile.TemporaryDirectory(prefix="liquidator-day-") as directory,
        CrashDay(broker, Path(directory)) as day,
    ):
        yield day


@pytest.fixture(scope="session")
def crash_day_prometheus(crash_day: CrashDay) -> str:
    """Return where a Prometheus is asked that has seen the crash day; daemon and Prometheus run on.

    Ask with `tests.services.prometheus.query(url, expression, crash_day.ended)`.
    """
    return crash_day.prometheus.url


@pytest.fixture
async def proxy(broker: Broker) -> AsyncIterator[CuttableProxy]:
    """Open a line to the broker that can be cut."""
    assert broker.extra_listener is not None
    async with CuttableProxy(broker.extra_listener, broker.extra_port) as line:
        yield line


@pytest.fixture
async def make_topic(broker: Broker, request: pytest.FixtureRequest) -> AsyncIterator[MakeTopic]:
    """Create topics that no other test uses: `await make_topic(partitions=1, **config)`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()

    async def make(partitions: int = 1, **config: str) -> str:
        name = f"{request.node.originalname}-{next(_topic_number)}"
        topic_configs = {key.replace("_", "."): value for key, value in config.items()}
        new = NewTopic(name, partitions, replication_factor=1, topic_configs=topic_configs)
        response = await admin.create_topics([new])
        for _, code, *_ in response.topic_errors:
            if code:
                raise for_code(code)
        return name

    try:
        yield make
    finally:
        await admin.close()


_topic_number = itertools.count()


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure in CI, where nothing a test needs may be missing."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"a skip is a failure in CI: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report
