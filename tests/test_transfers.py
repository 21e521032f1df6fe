"""What the simulated venue does with transfers: a fill for each side, never more than is open."""

from decimal import Decimal as D
from typing import Any

import pytest

from consumers import market, population
from consumers.exchange import Exchange
from consumers.feed import Clock
from engine.decisions import Deleverage, LiquidationOrder, TakeOver
from engine.events import AccountOpened, Deposit, Fill, OrderClosed
from engine.venue import Conditions
from engine.waterfall_profile import Backstop, Waterfall

NOW = Conditions(mark=D(40_000), depth=1e6, time=0)
SYMBOL = "BTCUSDT"


class Venue:
    """An exchange where "long" holds 10, mostly against hedgers, and "short" holds −4."""

    def __init__(self) -> None:
        rules = market.venue_rules()
        members = [population.Hedger(f"h{n}", SYMBOL, "BTC", 1e6) for n in range(3)]
        self.desk = population.Desk(members, {SYMBOL: 3e6})
        self.exchange = Exchange(rules.assets, rules.perpetuals, self.desk, Clock(1_000))
        for name, worth in (("long", 4e5), ("short", -1.6e5)):
            trader = population.Trader(name, worth > 0, True, {"USDT": 1e5}, {SYMBOL: worth}, False)
            self.exchange.open_trader(trader, {SYMBOL: D(40_000)})

    def hear(self, kind: type[Any], **fields: Any) -> None:
        """Hear an order about the long position of 10."""
        about: dict[str, Any] = {
            "order_id": "long:1:1:BTCUSDT", "number": 1, "symbol": SYMBOL, "side": "sell",
            "size": D(3), "expires": 0, "replaces": "",
        }  # fmt: skip
        carried = {"shard": 0, "seq": 1, "index": 0, "time": 0, "account": "long"}
        self.exchange.hear(kind(**{"margin": "cross", **carried, **about, **fields}))

    def take_over(self, taker: str = "pool", layer: str = "backstop", **fields: Any) -> None:
        """Have a taker asked for a part of the position, at 39,000."""
        about = {"price": D(39_000), "layer": layer, "taker": taker, "capacity": D(100)}
        self.hear(TakeOver, **{"taker_margin": "cross", **about, **fields})

    def deleverage(self, counterparty: str, **fields: Any) -> None:
        """Have a part of the position closed against a counterparty, at 39,000."""
        rank = {"rank": 1, "score": D(1), "forgone": D(3_000), "price": D(39_000)}
        against = {"counterparty": counterparty, "counterparty_margin": "cross"}
        self.hear(Deleverage, **{**rank, **against, **fields})

    def session(self) -> list[Any]:
        """Return what a session brings."""
        return self.exchange.session(SYMBOL, NOW)

    def open(self, account: str, margin: str = "cross") -> D:
        """Return a position."""
        return self.exchange.positions.get((account, margin, SYMBOL), D(0))


@pytest.fixture
def venue() -> Venue:
    return Venue()


def sides(events: list[Any]) -> list[tuple[str, str, D, D, D, str]]:
    """Return what fills say."""
    return [(e.account, e.margin, e.size, e.price, e.fee, e.order_id) for e in events]


def test_a_take_over_is_a_fill_for_each_side_without_a_fee(venue: Venue) -> None:
    venue.take_over()
    events = venue.session()
    assert all(isinstance(event, Fill) for event in events)
    assert sides(events) == [
        ("pool", "cross", D(3), D(39_000), D(0), ""),
        ("long", "cross", D(-3), D(39_000), D(0), "long:1:1:BTCUSDT"),
    ]
    assert (venue.open("long"), venue.open("pool")) == (D(7), D(3))
    assert venue.session() == []
    assert not sum(venue.exchange.positions.values())


def test_a_deleveraging_closes_both_sides(venue: Venue) -> None:
    venue.deleverage("short")
    assert [side[:3] for side in sides(venue.session())] == [
        ("short", "cross", D(3)),
        ("long", "cross", D(-3)),
    ]
    assert (venue.open("long"), venue.open("short")) == (D(7), D(-1))


@pytest.mark.parametrize(
    ("size", "counterparty", "filled"),
    [
        pytest.param("6", "short", "4", id="no more than the counterparty has"),
        pytest.param("3", "nobody", "0", id="nothing of who has nothing"),
        pytest.param("30", "short", "4", id="no more than either has"),
    ],
)
def test_what_a_deleveraging_cannot_close_is_over(
    venue: Venue, size: str, counterparty: str, filled: str
) -> None:
    venue.deleverage(counterparty, size=D(size))
    *fills, closed = venue.session()
    assert isinstance(closed, OrderClosed)
    assert (closed.order_id, closed.filled_size) == ("long:1:1:BTCUSDT", D(filled))
    assert sum(fill.size for fill in fills if fill.account == "long") == -D(filled)
    assert venue.open("short") == D(filled) - 4


def test_a_take_over_gets_no_more_than_is_open_and_nobody_closes(venue: Venue) -> None:
    resting = {"limit_price": D(41_000), "bankruptcy_price": None, "stage": "limit"}
    fixed = {"reason": "breach", "decided_mark": D(40_000), "order_id": "long:1:0:BTCUSDT"}
    venue.hear(LiquidationOrder, size=D(8), **resting, **fixed)
    venue.take_over(size=D(6))
    _, taken, closed = venue.session()
    assert (taken.size, closed.filled_size) == (D(-2), D(2))


def test_the_wrong_way_moves_nothing(venue: Venue) -> None:
    venue.take_over(side="buy")
    (closed,) = venue.session()
    assert (closed.filled_size, venue.open("long")) == (D(0), D(10))


@pytest.mark.parametrize(("held", "filled"), [("-2", "2"), ("-5", "3"), ("1", "0")])
def test_netting_sets_groups_of_one_account_against_each_other(
    venue: Venue, held: str, filled: str
) -> None:
    margin = f"isolated:{SYMBOL}"
    venue.exchange.positions["long", margin, SYMBOL] = D(held)
    venue.take_over("long", "netting", taker_margin=margin)
    fills = [event for event in venue.session() if isinstance(event, Fill)]
    assert sum(fill.size for fill in fills if fill.margin == "cross") == -D(filled)
    assert venue.open("long", margin) == D(held) + D(filled)


def test_the_desk_knows_what_a_hedger_gave(venue: Venue) -> None:
    name = next(f"h{n}" for n in range(3) if venue.open(f"h{n}") <= -2)
    venue.deleverage(name, size=D(2))
    venue.session()
    # Who is now the least short sells first to the next who buys.
    held = {f"h{n}": venue.open(f"h{n}") for n in range(3)}
    dealt = venue.desk.deal(SYMBOL, D("0.001"), 40.0, D("0.001"), "")
    assert held[dealt[0][0]] == max(held.values())


def test_those_who_take_positions_are_opened_with_the_day(venue: Venue) -> None:
    backstop = Backstop(account="vault", capacity=D("2000000.5"))
    rules = Waterfall(takers=("fund", "backstop"), fund_account="fund", backstop=backstop)
    first, second, third = venue.exchange.open_takers(rules)
    assert isinstance(first, AccountOpened)
    assert (first.account, first.role) == ("fund", "fund")
    assert isinstance(second, AccountOpened)
    assert (second.account, second.role) == ("vault", "backstop")
    assert isinstance(third, Deposit)
    assert (third.account, third.asset, third.amount) == ("vault", "USDT", D("2000000.5"))
    assert venue.exchange.open_takers(Waterfall()) == []
