"""A venue of three markets and five accounts on a bad morning: small enough to be known by heart.

Alice (worked number (a) of docs/money.md, with a partial fill, an expiry and a worse end) leaves
bad debt; bob is her counterparty. Carol's collateral is sold (as in (e)). Dave is long an inverse
perpetual (as in (b)). Erin watches.
"""

from decimal import Decimal as D
from pathlib import Path

from engine import wire
from engine.events import (
    AnyEvent,
    CollateralSold,
    Deposit,
    Fill,
    FundMoved,
    InstrumentListed,
    OpenOrders,
    OrderClosed,
    OrdersCancelled,
    PriceUpdate,
    ProfileChanged,
    TimePassed,
)
from engine.instruments import Asset, Perpetual
from engine.profile import Bracket, Collateral, Requirement, RiskProfile
from producers.event_log import EventLogWriter

START = 1_621_382_400_000_000  # 19 May 2021, 00:00 UTC
SECOND = 1_000_000

USDT = Asset("USDT", decimals=8, largest=D(40_000_000_000))
BTC = Asset("BTC", decimals=8, largest=D(21_000_000), price_decimals=2)
BTC_PERP = Perpetual("BTC-PERP", "USDT", 3, 1, D("0.1"), D("0.001"), D(1_000_000))
ETH_PERP = Perpetual("ETH-PERP", "USDT", 3, 2, D("0.01"), D("0.001"), D(1_000_000))
INVERSE = Perpetual(
    "BTCUSD-PERP", "BTC", 0, 2, D("0.5"), D(1), D(1_000_000), style="inverse", multiplier=D(100)
)
BRACKETS = (Bracket(D(100_000_000), initial_rate=D("0.01"), maintenance_rate=D("0.004")),)
PROFILE = RiskProfile(
    name="small",
    numeraire="USDT",
    requirements=dict.fromkeys(("BTC-PERP", "ETH-PERP", "BTCUSD-PERP"), Requirement(BRACKETS)),
    collateral={"USDT": Collateral(), "BTC": Collateral(haircut=D("0.05"))},
    conversion=("USDT", "BTC"),
)

Line = tuple[int | None, AnyEvent]


class _Writer:
    """Adds events with the sequence numbers that they need."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._last: dict[str, int] = {}

    def _next(self, of: str) -> int:
        self._last[of] = self._last.get(of, 0) + 1
        return self._last[of]

    def all(self, event: type, at: float, /, **fields: object) -> None:
        self.lines.append((None, event(time=START + round(at * SECOND), **fields)))

    def price(self, at: float, symbol: str, price: str, kind: str = "mark") -> None:
        sequence = self._next(f"price {symbol}")
        fields = {"symbol": symbol, "kind": kind, "source": "venue", "sequence": sequence}
        self.all(PriceUpdate, at, price=D(price), **fields)

    def of(self, event: type, at: float, account: str, /, **fields: object) -> None:
        time, sequence = START + round(at * SECOND), self._next(account)
        self.lines.append((0, event(time=time, account=account, sequence=sequence, **fields)))

    def fill(
        self, at: float, account: str, symbol: str, size: str, price: str, fee: str, order: str = ""
    ) -> None:
        self.of(
            Fill,
            at,
            account,
            symbol=symbol,
            margin="cross",
            size=D(size),
            price=D(price),
            fee=D(fee),
            fee_asset="BTC" if symbol == "BTCUSD-PERP" else "USDT",
            fill_id=f"f{len(self.lines)}",
            order_id=order,
        )


def morning() -> list[Line]:
    """Return every event with its shard, none for those that every shard gets."""
    venue = _Writer()
    venue.all(ProfileChanged, 0, profile=PROFILE)
    for instrument in (USDT, BTC, BTC_PERP, ETH_PERP, INVERSE):
        venue.all(InstrumentListed, 0, instrument=instrument)
    venue.all(FundMoved, 0, shard=0, asset="USDT", amount=D(60), sequence=1)
    venue.price(1, "BTC-PERP", "10000")
    venue.price(1, "ETH-PERP", "3000")
    venue.price(1, "BTCUSD-PERP", "10000")
    venue.price(1, "BTC", "30000", "index")
    deposits = {"alice": "1000", "bob": "2000", "erin": "5"}
    for account, amount in deposits.items():
        venue.of(Deposit, 2, account, asset="USDT", amount=D(amount))
    venue.of(Deposit, 2, "carol", asset="BTC", amount=D(1))
    venue.of(Deposit, 2, "dave", asset="BTC", amount=D("0.1"))
    venue.fill(3, "alice", "BTC-PERP", "1", "10000", "0")
    venue.fill(3, "bob", "BTC-PERP", "-1", "10000", "0")
    venue.fill(3, "carol", "ETH-PERP", "10", "3000", "0")
    venue.fill(3, "dave", "BTCUSD-PERP", "100", "10000", "0")
    own = {"symbol": "BTC-PERP", "margin": "cross", "buy_size": D("0.5"), "sell_size": D(0)}
    venue.of(OpenOrders, 3, "alice", **own)
    _alice(venue)
    _carol(venue)
    _dave(venue)
    venue.all(TimePassed, 60)
    return venue.lines


def _alice(venue: _Writer) -> None:
    venue.price(10, "BTC-PERP", "9036")
    venue.of(OrdersCancelled, 10.5, "alice", margin="cross")
    venue.price(10.6, "BTC-PERP", "9030")
    venue.fill(11, "alice", "BTC-PERP", "-0.2", "9010", "0.901", "alice:1:1:BTC-PERP")
    venue.all(TimePassed, 16)
    closed = {"filled_size": D("0.2"), "reason": "cancelled"}
    venue.of(OrderClosed, 16.5, "alice", order_id="alice:1:1:BTC-PERP", **closed)
    venue.fill(17, "alice", "BTC-PERP", "-0.8", "8850", "3.54", "alice:1:2:BTC-PERP")
    venue.fill(17, "bob", "BTC-PERP", "1", "8850", "0")


def _carol(venue: _Writer) -> None:
    venue.price(20, "ETH-PERP", "1000")
    venue.price(21, "BTC", "21090", "index")
    venue.fill(22, "carol", "ETH-PERP", "-10", "1000", "5", "carol:1:1:ETH-PERP")
    sold = {"margin": "cross", "asset": "BTC", "amount": D("0.94855382"), "for_asset": "USDT"}
    sale = {"proceeds": D("20005.5"), "order_id": "carol:1:2:BTC"}
    venue.of(CollateralSold, 23, "carol", **sold, **sale)


def _dave(venue: _Writer) -> None:
    venue.price(30, "BTCUSD-PERP", "9100")
    venue.fill(31, "dave", "BTCUSD-PERP", "-100", "9096", "0.00054969", "dave:1:1:BTCUSD-PERP")


def write(path: Path, lines: list[Line] | None = None) -> Path:
    """Write the morning, or other lines, as an event log."""
    with EventLogWriter(path) as log:
        for shard, event in morning() if lines is None else lines:
            log.write(shard, wire.write_event(event))
    return path
