"""Orders that fill at their limits use a group's equity up, and not a tick more."""

from dataclasses import dataclass
from decimal import Decimal as D
from fractions import Fraction
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from engine import decisions
from engine.instruments import Perpetual
from engine.profile import Trigger
from tests.story import Story, WholeEngine, of

UNIT = Fraction(1, 10**8)
FEE = Fraction(1, 2000)
BITCOIN = Fraction(20_000)


@dataclass(frozen=True)
class Position:
    """A leg opened at its mark."""

    symbol: str
    size: int
    mark: Fraction

    @property
    def inverse(self) -> bool:
        """Whether the leg settles in bitcoin."""
        return self.symbol.startswith("INV")

    def worth(self, price: Fraction) -> Fraction:
        """Return the unsigned value at a price, in the settlement asset."""
        return abs(self.size) / price if self.inverse else abs(self.size) * price / 1000

    def notional(self) -> Fraction:
        """Return the unsigned value at mark, in USDT."""
        return self.worth(self.mark) * (BITCOIN if self.inverse else 1)


@st.composite
def positions(draw: st.DrawFn) -> list[Position]:
    """Draw one to four legs of like size, long and short, linear and inverse."""
    names = draw(
        st.lists(st.sampled_from(["LIN1", "LIN2", "INV1", "INV2"]), min_size=1, unique=True)
    )
    scale = draw(st.sampled_from([5, 100, 10_000]))
    drawn = []
    for name in names:
        mark = Fraction(draw(st.integers(50_000, 400_000)), 10)
        notional = scale * draw(st.integers(10, 30))
        size = notional * mark / BITCOIN if name.startswith("INV") else notional * 1000 / mark
        drawn.append(Position(name, round(size) * draw(st.sampled_from([-1, 1])), mark))
    return drawn


def decimal(value: Fraction, places: int) -> str:
    """Write a fraction to so many places, the rest cut off."""
    return f"{D(int(value * 10**places)).scaleb(-places):f}"


def up(value: Fraction) -> Fraction:
    """Round up to a unit."""
    return -(-value // UNIT) * UNIT


def open_group(legs: list[Position], equity: Fraction, coins: bool) -> tuple[Story, list[Any]]:
    """Open legs at their marks with so much equity (USDT); return the orders that follow."""
    story = Story(WholeEngine())
    listed = [_perpetual(name) for name in ("LIN1", "LIN2", "INV1", "INV2")]
    story.rules(*listed, rate="0.1", trigger=Trigger(stop_buffer=D(9)))
    asset = "BTC" if coins else "USDT"
    story.deposit("alice", asset, decimal(equity / BITCOIN if coins else equity, 8))
    for leg in legs:
        size = str(leg.size) if leg.inverse else decimal(Fraction(leg.size, 1000), 3)
        story.fill("alice", leg.symbol, size, decimal(leg.mark, 1))
    story.price("BTC", str(BITCOIN), "index")
    for leg in legs:
        story.price(leg.symbol, decimal(leg.mark, 1))
    return story, of(decisions.LiquidationOrder, story.decided)


def _perpetual(name: str) -> Perpetual:
    linear = Perpetual(name, "USDT", 3, 1, D("0.1"), D("0.001"), D(10**6))
    inverse = Perpetual(name, "BTC", 0, 1, D("0.5"), D(1), D(10**9), style="inverse")
    return inverse if name.startswith("INV") else linear


def slack(leg: Position, limit: Fraction) -> Fraction:
    """Return what a tick is worth at a limit, with its fee, and one unit; in USDT."""
    tick = Fraction(1, 2) if leg.inverse else Fraction(1, 10)
    moved = abs(leg.worth(limit) - leg.worth(limit - tick if limit > tick else limit + tick))
    # An inverse value is rounded at mark too, where equity is taken.
    units = UNIT * (2 if leg.inverse else 1)
    return (moved * (1 + FEE) + units) * (BITCOIN if leg.inverse else 1)


@given(positions(), st.integers(15, 95), st.booleans())
def test_legs_filled_at_their_limits_leave_nothing_and_lose_nothing(
    legs: list[Position], thousandths: int, coins: bool
) -> None:
    total = sum((leg.notional() for leg in legs), Fraction(0))
    story, orders = open_group(legs, total * thousandths / 1000, coins)
    assume(all(order.stage == "limit" for order in orders))
    assume(len(orders) == len(legs))
    room = Fraction(0)
    for order in orders:
        leg = next(leg for leg in legs if leg.symbol == order.symbol)
        limit = Fraction(order.limit_price)
        worth = up(leg.worth(limit)) if leg.inverse else leg.worth(limit)
        story.fill(
            "alice",
            leg.symbol,
            f"{order.size if order.side == 'buy' else -order.size:f}",
            f"{order.limit_price:f}",
            decimal(up(worth * FEE), 8),
            fee_asset="BTC" if leg.inverse else "USDT",
            order_id=order.order_id,
        )
        room += slack(leg, limit)
    cash = story.machine.cash("alice")
    left = Fraction(cash.get("USDT", D(0))) + Fraction(cash.get("BTC", D(0))) * BITCOIN
    assert not of(decisions.Shortfall, story.decided)
    assert 0 <= left < room
