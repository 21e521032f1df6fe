"""Every order that the engine sends can be explained: what it was decided on gives its numbers."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from consumers import explain
from consumers.explain import Story
from consumers.replay import decide
from consumers.story import id_of
from engine import wire
from engine.core import Engine
from engine.decisions import (
    AuctionStarted,
    CollateralLiquidation,
    CollateralSale,
    Deleverage,
    LiquidationOrder,
    TakeOver,
)
from engine.events import AnyEvent
from engine.money import exact
from engine.waterfall_profile import Waterfall
from producers import explanation, report
from producers.event_log import EventLogWriter
from producers.explanation import Ask
from producers.order_size import planned_with, size_said
from tests.histories import History
from tests.story import only
from tests.test_takers import FUND, venue

LIMITS: dict[type, str] = {
    LiquidationOrder: "limit_price",
    TakeOver: "price",
    Deleverage: "price",
    CollateralSale: "limit_price",
    CollateralLiquidation: "seize",
    AuctionStarted: "start_price",
}
"""The number by which what is asked for is limited."""

SEEDS = [*range(2), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 10))]
ORDERS_MAX = 3
"""Orders of one history that are explained: each is a replay of it."""


def orders(events: list[AnyEvent]) -> Iterator[str]:
    engine = Engine()
    for event in events:
        for decision in decide(engine, event):
            if isinstance(decision, Ask):
                yield id_of(decision)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_arithmetic_of_an_order_is_found_and_told(seed: int, tmp_path: Path) -> None:
    events = [event for event, _ in History(seed)]
    with EventLogWriter(tmp_path / "log") as log:
        for event in events:
            log.write(0, wire.write_event(event))
    sent = list(orders(events))
    every = max(1, len(sent) // ORDERS_MAX)
    for order_id in sent[::every]:
        told = explain.from_log(order_id, tmp_path / "log")
        found = told.arithmetic
        # What goes on auction is the auction's by the end of the event.
        assert found is not None or isinstance(told.order, AuctionStarted), order_id
        assert id_of(told.order) == order_id
        assert [time for time, _ in told.course] == sorted(time for time, _ in told.course)
        with (tmp_path / "told").open("w") as file:
            explanation.show(report.console(file), told)
        shown = (tmp_path / "told").read_text()
        assert order_id in shown
        key = LIMITS[type(told.order)]
        assert report.full(getattr(told.order, key)) in shown
        if isinstance(told.order, LiquidationOrder) and told.order.stage == "limit":
            assert found is not None
            leg = next(leg for leg in found["legs"] if leg["symbol"] == told.order.symbol)
            by_mark = found["rules"]["by_mark"]
            assert by_mark or leg["limit_price"] in (told.order.limit_price, None)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_written_out_adds_up(seed: int, tmp_path: Path) -> None:
    engine = Engine()
    for event, _ in History(seed):
        for decision in decide(engine, event):
            if isinstance(decision, LiquidationOrder | CollateralLiquidation):
                group = engine.accounts[decision.account].groups[decision.margin]
                _adds_up(explain.arithmetic.of_group(engine, group))


@exact
def _adds_up(found: dict[str, Any] | None) -> None:
    if found is None:
        return
    worth = [held["net"] * held["price"] for held in found["balances"]]
    weighted = [held["counted"] * held["price"] * held["weight"] for held in found["balances"]]
    loans = found["loans"]
    worth += [loan["supplied_value"] - loan["owed_value"] for loan in loans]
    weighted += [loan["supplied"] * loan["price"] * loan["threshold"] for loan in loans]
    assert sum(worth) == found["equity"]
    assert sum(weighted) + found["returned"] == found["margin_equity"]
    owed = sum(loan["owed"] * loan["price"] * loan["weight"] for loan in loans)
    alone = sum(leg["required"] for leg in found["legs"] if not leg["in_portfolio"])
    together = sum(held["maintenance"] for held in found["portfolios"])
    assert alone + together + owed + found["fixed_cost"] == found["maintenance"]
    for held in found["balances"]:
        assert held["cash"] + held["unrealised"] == held["net"]
    for leg in found["legs"]:
        assert leg["steps"][-1]["amount"] == leg["maintenance"]
        assert leg["steps"][-1]["amount"] * leg["settle_price"] == leg["required"]
        assert leg["value"] - leg["cost"] == leg["unrealised"]
        # The quotients are shown to twenty digits.
        if leg["bankruptcy_price"] is not None:
            gap = leg["bankruptcy_price"] - leg["bankruptcy_exact"]
            assert 0 <= (gap if leg["size"] > 0 else -gap) <= leg["price_unit"]
        if leg["limit_price"] is not None and leg["fillable"] is None:
            gap = leg["limit_price"] - leg["limit_exact"]
            assert (gap if leg["size"] > 0 else -gap) >= -Decimal("1e-9")


def test_a_name_that_is_none_is_told() -> None:
    for name in ("", "alice", "alice:1:1", "alice:one:1:BTC-PERP", "a:1:1:B:C"):
        with pytest.raises(explain.NotFound, match="is not account:number:attempt:symbol"):
            Story(name)


@pytest.mark.parametrize(
    ("whole", "said"),
    [
        ("10", ["size: the whole leg, 10", "of which go 4 to the insurance fund, 6 to the market"]),
        ("20", ["size: 10 of 20 (a part)", "of which go 4 to the insurance fund, 6 to the market"]),
    ],
)
def test_a_size_that_takers_reduced_is_not_said_to_be_that_of_the_rule(
    whole: str, said: list[str]
) -> None:
    decided = venue(FUND).price("X", "80")
    order = only(LiquidationOrder, decided)
    found = {"legs": [{"symbol": "X", "size": Decimal(whole)}], "rules": {"sizing": "a part"}}
    course = [(0, one) for one in decided]
    lines = list(size_said(order, found, planned_with(order, course)))
    assert lines == [said[0], f"{said[1]}; this one: 6"]
    transfer = only(TakeOver, decided)
    lines = list(size_said(transfer, found, planned_with(transfer, course)))
    assert lines == [said[0], f"{said[1]}; this one: 4"]


def test_a_whole_leg_to_one_taker_needs_no_word() -> None:
    order = only(LiquidationOrder, venue(Waterfall()).price("X", "80"))
    found = {"legs": [{"symbol": "X", "size": Decimal(10)}], "rules": {"sizing": "a part"}}
    assert list(size_said(order, found, [order])) == []
