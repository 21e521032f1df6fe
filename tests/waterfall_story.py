"""A bankrupt long and its counterparty, under any waterfall: worked number (a) of docs/money.md."""

from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any

from engine import decisions as d
from engine import events as e
from engine.decisions import Decision
from engine.instruments import Perpetual
from engine.waterfall_profile import Waterfall
from tests.story import Story, WholeEngine, only

MARKET = Perpetual("BTCUSDT", "USDT", 3, 1, D("0.1"), D("0.001"), D(10**6))
OTHER = Perpetual("ETHUSDT", "USDT", 3, 1, D("0.1"), D("0.001"), D(10**6))


class Recorder(WholeEngine):
    """An engine that keeps what it was told, and every decision of an event with it."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[Any, Sequence[Decision]]] = []

    def apply(self, event: e.AnyEvent) -> Sequence[Decision]:
        """Return every decision of an event."""
        decided = super().apply(event)
        self.told.append((event, decided))
        return decided


def venue(waterfall: Waterfall, fund: str = "", **fields: Any) -> tuple[Recorder, Story]:
    """Return a venue with 60 USDT in a fund; alice is long 1 at 10,000 with 1,000, bob short with
    2,000."""
    machine = Recorder()
    story = Story(machine)
    story.rules(MARKET, OTHER, rate="0.004", waterfall=waterfall, **fields)
    story.tell(e.FundMoved, shard=0, asset="USDT", amount=D(60), fund=fund)
    story.price("BTCUSDT", "10000")
    for account, size, money in (("alice", "1", "1000"), ("bob", "-1", "2000")):
        story.deposit(account, "USDT", money)
        story.fill(account, "BTCUSDT", size, "10000")
    return machine, story


def bankruptcy(story: Story) -> Sequence[Decision]:
    """Take the mark to 8,900 and fill alice's order there: a shortfall of 104.45."""
    order = only(d.LiquidationOrder, story.price("BTCUSDT", "8900"))
    decided = story.fill("alice", "BTCUSDT", "-1", "8900", "4.45", order_id=order.order_id)
    story.fill("bob", "BTCUSDT", "1", "8900")
    return decided


def treasury(story: Story, kind: type[Any], amount: str, sequence: int) -> Sequence[Decision]:
    """Have bad debt of the market recovered or written off; numbered with the moves of the fund."""
    event = kind(
        time=story.time + 1, shard=0, asset="USDT", market="BTCUSDT", amount=D(amount),
        sequence=sequence,
    )  # fmt: skip
    story.time += 1
    return story.machine.apply(event)
