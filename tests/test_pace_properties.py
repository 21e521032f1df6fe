"""Whatever happens in a crash: the pace is kept, the riskiest goes first, nobody is forgotten."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal as D
from decimal import localcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import core, invariants, state, wire
from engine import decisions as d
from engine import events as e
from engine.core import Engine
from engine.liquidation import compare_risk
from engine.liquidation_profile import Cooldown, LeastReduction, LiquidationRule, Pace, WholeLegs
from engine.margin import breached, notional
from engine.money import EXACT, ZERO
from engine.profile import Trigger
from engine.waterfall_profile import Backstop, Waterfall
from tests.story import Story, of
from tests.test_guard import INVERSE, LINEAR, OTHER

# Too long for `make check`.
pytestmark = pytest.mark.slow

SECOND = 1_000_000
MARKETS = (LINEAR, OTHER, INVERSE)
ACCOUNTS = "abcdefgh"

Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["price", "price", "fill", "close", "time", "again", "halt", "deposit", "own"]
        ),
        st.integers(0, 999),
        st.integers(0, 99),
    ),
    min_size=12,
    max_size=50,
)
COUNT = st.none() | st.integers(1, 3)
LIMIT = st.sampled_from([D(4000), D(15000), D(60000)])
PACES = st.builds(
    Pace,
    per_event=COUNT,
    per_second=COUNT,
    in_flight=st.dictionaries(st.sampled_from(["BTCUSDT", "*"]), LIMIT, max_size=2).map(
        lambda limits: {**limits, "BTCUSD": D(2)} if limits else {}
    ),
    unfilled=COUNT,
)
COUNTS = st.builds(Pace, per_event=COUNT, per_second=COUNT)
RULES = st.fixed_dictionaries(
    {
        "sizing": st.sampled_from([WholeLegs(), LeastReduction()]),
        "cooldown": st.sampled_from([None, Cooldown(3 * SECOND)]),
        "netting": st.booleans(),
    }
)
WATERFALLS = st.sampled_from(
    [Waterfall(), Waterfall(takers=("backstop",), backstop=Backstop("taker", D(9000), D("0.5")))]
)
TRIGGERS = st.sampled_from([Trigger(stop_buffer=D("0.1")), Trigger(stop_at="initial")])


class Recorder:
    """An engine that keeps what it was told, and is checked after every event."""

    def __init__(self, check: Callable[[Engine, Sequence[d.Decision]], None]) -> None:
        self.engine = Engine(shard=0)
        self.log: list[e.AnyEvent] = []
        self.check = check

    def apply(self, event: e.AnyEvent) -> Sequence[d.Decision]:
        self.log.append(event)
        decided = list(self.engine.apply(event))
        while more := self.engine.proceed():
            decided += more
        self.check(self.engine, decided)
        return decided


class Crash:
    """Tells a venue's bad hour, step by step."""

    def __init__(self, recorder: Recorder, pace: Pace, rule: dict[str, Any], **fields: Any) -> None:
        self.story = Story(recorder)
        self.story.time = 10 * SECOND
        self.engine = recorder.engine
        self.marks = {market.name: D(10000) for market in MARKETS}
        liquidation = LiquidationRule(pace=pace, **rule)
        self.story.rules(*MARKETS, rate="0.004", liquidation=liquidation, **fields)
        self.story.price("BTC", "10000", "index")
        for symbol in self.marks:
            self.story.price(symbol, "10000")
        self._open()

    def _open(self) -> None:
        self.story.deposit("taker", "USDT", "1000000")
        for place, account in enumerate(ACCOUNTS):
            side = 1 if place % 3 else -1
            self.story.deposit(account, "USDT", str(80 + 17 * place))
            self.story.fill(account, "BTCUSDT", str(side), "10000")
            if place % 4 == 1:
                self.story.tell(e.MarginMoved, account=account, symbol="ETHUSDT", amount=D(20))
                isolated = {"margin": "isolated:ETHUSDT"}
                self.story.fill(account, "ETHUSDT", "-0.2", "10000", **isolated)
            if place % 2:
                self.story.fill(account, "ETHUSDT", "0.5", "10000")
            if place % 4 == 3:
                self.story.fill(account, "BTCUSD", "20", "10000", fee_asset="BTC")

    def take(self, step: Step) -> None:
        """Have something happen."""
        kind, which, size = step
        getattr(self, f"_{kind}")(which, size)

    def _price(self, which: int, size: int) -> None:
        symbol = MARKETS[which % 3].name
        moved = self.marks[symbol] * (1 + (D(size) - 55) / 2000)
        self.marks[symbol] = moved.quantize(D("0.1"))
        self.story.price(symbol, str(self.marks[symbol]))

    def _live(self, which: int) -> tuple[Any, Any] | None:
        live = [
            (group, order)
            for group in self.engine.liquidating
            for order in group.liquidation.in_order()
            if order.closes_leg
        ]
        return live[which % len(live)] if live else None

    def _fill(self, which: int, size: int) -> None:
        found = self._live(which)
        if found is None:
            return
        group, order = found
        left = order.size - order.filled
        lots = max(1, int(left / D("0.001")) * size // 99) if order.symbol != "BTCUSD" else 1
        amount = min(left, lots * D("0.001") if order.symbol != "BTCUSD" else left)
        signed = -amount if order.side == "sell" else amount
        fee_asset = "BTC" if order.symbol == "BTCUSD" else "USDT"
        about = {"margin": group.margin, "order_id": order.id, "fee_asset": fee_asset}
        price = str(order.limit if order.is_transfer else self.marks[order.symbol])
        if order.is_transfer:
            self.story.fill(order.counterparty[0], order.symbol, str(-signed), price)
        self.story.fill(group.account.id, order.symbol, str(signed), price, **about)

    def _close(self, which: int, size: int) -> None:
        found = self._live(which)
        if found is not None:
            group, order = found
            about = {"order_id": order.id, "filled_size": order.filled, "reason": "expired"}
            self.story.tell(e.OrderClosed, account=group.account.id, **about)

    def _time(self, which: int, size: int) -> None:
        self.story.time += which * size * 1000
        self.story.tell(e.TimePassed)

    def _again(self, which: int, size: int) -> None:
        if which % 2:
            self.story.tell(e.Halt, symbol="NOTHING")
        else:
            self.story.sequences["PriceUpdate BTCUSDT"] -= 1
            self.story.price("BTCUSDT", "1")

    def _halt(self, which: int, size: int) -> None:
        symbol = ("", "BTCUSDT", "ETHUSDT")[size % 3]
        self.story.tell(e.Halt if which % 2 else e.Resume, symbol=symbol)

    def _deposit(self, which: int, size: int) -> None:
        self.story.deposit(ACCOUNTS[which % len(ACCOUNTS)], "USDT", str(size + 1))

    def _own(self, which: int, size: int) -> None:
        account = ACCOUNTS[which % len(ACCOUNTS)]
        if size % 2:
            sizes = {"buy_size": D(1), "sell_size": ZERO}
            self.story.tell(
                e.OpenOrders, account=account, symbol="ETHUSDT", margin="cross", **sizes
            )
        else:
            self.story.tell(e.OrdersCancelled, account=account, margin="cross")


def nobody_is_forgotten(engine: Engine) -> None:
    """Who is breached has a live order, waits for a reason that is told, or for an answer."""
    invariants.check(engine)
    for group in engine.book.all_groups():
        health = engine.health_of(group)
        if health is None or not breached(health, engine.rules):
            continue
        liquidation = group.liquidation
        assert liquidation is not None, group.key
        live = liquidation.orders or liquidation.awaiting_until is not None
        assert live or liquidation.waits, group.key


class Paced:
    """Checks that orders keep a pace."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.seconds: Counter[int] = Counter()

    def __call__(self, engine: Engine, decided: Sequence[d.Decision]) -> None:
        with localcontext(EXACT):
            nobody_is_forgotten(engine)
            orders = of(d.LiquidationOrder, decided)
            self.seconds.update(one.time // SECOND for one in orders)
            assert len(orders) <= (self.pace.per_event or len(orders))
            most = max(self.seconds.values(), default=0)
            assert most <= (self.pace.per_second or most)
            for symbol in sorted({one.symbol for one in orders}):
                self._in_flight(engine, symbol)

    def _in_flight(self, engine: Engine, symbol: str) -> None:
        limit = self.pace.in_flight.get(symbol, self.pace.in_flight.get("*"))
        listed, unit = engine.rules.derivatives[symbol], engine.rules.settle_of(symbol).unit
        left = sum(
            order.size - order.filled
            for group in engine.liquidating
            for order in group.liquidation.orders.values()
            if order.symbol == symbol and order.is_market
        )
        mark = engine.markets.price(symbol, "mark")
        assert mark is not None
        assert limit is None or notional(listed, D(left), mark, unit) <= limit


def riskiest_first(engine: Engine, decided: Sequence[d.Decision]) -> None:
    """Whoever waits only for the counts is no riskier than anybody who got an order."""
    with localcontext(EXACT):
        nobody_is_forgotten(engine)
        got = {(one.account, one.margin): None for one in of(d.LiquidationOrder, decided)}
        waiting = engine.watch.standing("capped")
        for key in got:
            health = engine.health_of(engine.group_of(*key))
            for group in waiting:
                other = engine.health_of(group)
                if health is not None and other is not None:
                    assert compare_risk(other, health) >= 0, (group.key, key)


@settings(max_examples=60, deadline=None)
@given(PACES, RULES, WATERFALLS, TRIGGERS, STEPS)
def test_no_more_goes_out_than_told_and_nobody_is_forgotten(
    pace: Pace, rule: dict[str, Any], waterfall: Waterfall, trigger: Trigger, steps: list[Step]
) -> None:
    crash = Crash(Recorder(Paced(pace)), pace, rule, waterfall=waterfall, trigger=trigger)
    for step in steps:
        crash.take(step)


@settings(max_examples=60, deadline=None)
@given(COUNTS, RULES, TRIGGERS, STEPS)
def test_the_riskiest_goes_first(
    pace: Pace, rule: dict[str, Any], trigger: Trigger, steps: list[Step]
) -> None:
    crash = Crash(Recorder(riskiest_first), pace, rule, trigger=trigger)
    for step in steps:
        crash.take(step)


@contextmanager
def slices_of(groups: int) -> Iterator[None]:
    """Have the engine decide so many groups at a time."""
    before, core.SLICE = core.SLICE, groups
    try:
        yield
    finally:
        core.SLICE = before


def outcome(log: Sequence[e.AnyEvent], between: Callable[[Engine], Engine]) -> tuple[bytes, str]:
    """Return decisions and digest of a log; `between` is given the engine after every slice."""
    engine, decided = Engine(shard=0), []
    for event in log:
        decided += engine.apply(event)
        engine = between(engine)
        while more := engine.proceed():
            decided += more
            engine = between(engine)
    return b"\n".join(map(wire.write_decision, decided)), state.digest(engine)


@settings(max_examples=25, deadline=None)
@given(PACES, RULES, WATERFALLS, TRIGGERS, STEPS)
def test_a_restart_after_every_slice_changes_nothing(
    pace: Pace, rule: dict[str, Any], waterfall: Waterfall, trigger: Trigger, steps: list[Step]
) -> None:
    recorder = Recorder(lambda engine, decided: None)
    crash = Crash(recorder, pace, rule, waterfall=waterfall, trigger=trigger)
    for step in steps:
        crash.take(step)
    whole = outcome(recorder.log, lambda engine: engine)
    with slices_of(1):
        restarted = outcome(
            recorder.log, lambda engine: state.restore(0, state.records(engine).items())
        )
    assert restarted == whole
