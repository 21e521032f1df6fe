"""What it costs to tell people how accounts stand: looks at a whole book, and records."""

from __future__ import annotations

import time
from typing import NamedTuple

from consumers.replay import decide
from consumers.risk_config import Risk
from consumers.risk_topic import RiskTopic
from engine.core import Engine
from producers.account_risk import told_of
from tests.bench import book

LOOKS = 5
BANDS = (2.0, 10.0, 20.0, 40.0, 80.0)
"""Such that the book's accounts are in all of them."""


class Cost(NamedTuple):
    """Seconds of a processor: of a look at a calm book and its longest step, of a look in exact
    numbers, and of a record."""

    look: float
    step: float
    exact: float
    record: float


def measure(accounts: int) -> Cost:
    """Tell of every account, and look again while nothing changes."""
    engine = Engine()
    for event in [*book.rules(), *book.accounts(accounts), *book.first_prices()]:
        for _ in decide(engine, event):
            pass
    topic = RiskTopic(engine, Risk(bands=BANDS, min_interval=0, max_per_second=1e9))
    whole = sum(_steps(topic))
    told = topic.take()
    assert len(told) == accounts
    looks = [_steps(topic) for _ in range(LOOKS)]
    assert not topic.take(), "nothing has changed"
    began = time.thread_time()
    for account in engine.accounts.values():
        told_of(engine, account, topic.bands)
    exact = time.thread_time() - began
    look = min(looks, key=sum)
    return Cost(sum(look), max(look), exact, (whole - sum(look)) / accounts)


def _steps(topic: RiskTopic) -> list[float]:
    """Return the seconds of each step of a look."""
    found, began = [], time.thread_time()
    for _ in topic.look():
        now = time.thread_time()
        found.append(now - began)
        began = now
    return found
