"""One crisis: traders on both sides, prices that gap, a venue that fills, lags, or is silent."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal as D
from random import Random
from typing import Any

from engine import decisions as d
from engine import events as e
from engine.core import Engine
from engine.instruments import Asset, Perpetual
from engine.profile_faults import faults
from tests.crises.rules import BACKSTOP, FUND, SECOND, draw_rules

LARGEST = D(10) ** 9
ASSETS = (Asset("USDT", 4, LARGEST), Asset("BTC", 8, LARGEST, price_decimals=2))
MARKETS = (
    Perpetual("X", "USDT", 1, 2, D("0.01"), D("0.1"), LARGEST, taker_fee=D("0.0005")),
    Perpetual("Y", "USDT", 0, 3, D("0.001"), D(1), LARGEST, taker_fee=D(0)),
    Perpetual("I", "BTC", 0, 1, D("0.5"), D(1), LARGEST, style="inverse", multiplier=D(100)),
)
FIRST = {"X": D(100), "Y": D(5), "I": D(20_000)}
DESK = "desk"
"""A market maker that takes the other side of what the market fills, and never lacks money."""

Told = tuple[e.AnyEvent, list[Any]]


class Crisis:
    """Rules, people and prices of a seed, played against one engine.

    Iterating gives each event with what was decided, after all of it was decided.
    """

    def __init__(self, seed: int) -> None:
        self.chance = Random(f"crisis {seed}")
        self.engine = Engine(shard=0)
        self.profile = draw_rules(self.chance)
        assert faults(self.profile) == []
        self.prices = dict(FIRST)
        self.time = 0
        self._sequences: dict[str, int] = {}
        self._fills = 0
        self._due: list[tuple[int, Any]] = []
        self._silent = self.chance.random() < 0.2
        self._impact = self.chance.choice((0.0, 0.01, 0.05))

    def __iter__(self) -> Iterator[Told]:
        yield from self._begin()
        for _ in range(self.chance.randrange(6, 14)):
            yield from self._shock()
        for _ in range(6):
            self.time += self.chance.choice((1, 3, 6)) * SECOND
            yield self.tell(e.TimePassed)
            yield from self._answers(always=True)

    # --- telling

    def tell(self, kind: type[Any], /, **fields: Any) -> Told:
        """Tell the engine an event, and decide all of it."""
        self.time += 1000
        if "sequence" in kind.__struct_fields__:
            series = fields.get("account") or f"{fields.get('symbol')}{fields.get('shard')}"
            self._sequences[series] = self._sequences.get(series, 0) + 1
            fields["sequence"] = self._sequences[series]
        event = kind(time=self.time, **fields)
        decided: list[Any] = list(self.engine.apply(event))
        while more := self.engine.proceed():
            decided += more
        for decision in decided:
            self._hear(decision)
        return event, decided

    def fill(self, account: str, symbol: str, size: D, price: D, **more: Any) -> Told:
        """Tell a fill; the fee is the taker's, of orders in the market only."""
        self._fills += 1
        about = {"margin": "cross", "fee": D(0), "fee_asset": "USDT", **more}
        return self.tell(
            e.Fill, account=account, symbol=symbol, size=size, price=price,
            fill_id=str(self._fills), **about,
        )  # fmt: skip

    # --- the beginning

    def _begin(self) -> Iterator[Told]:
        for asset in ASSETS:
            yield self.tell(e.InstrumentListed, instrument=asset)
        yield self.tell(e.ProfileChanged, profile=self.profile)
        for market in MARKETS:
            yield self.tell(e.InstrumentListed, instrument=market)
        yield self.tell(e.PriceUpdate, symbol="BTC", kind="index", price=D(20_000), source="venue")
        for symbol in FIRST:
            yield self._quoted(symbol)
        yield from self._funds()
        for name, role in ((DESK, "market_maker"), (BACKSTOP, "backstop"), (FUND, "fund")):
            yield self.tell(e.AccountOpened, account=name, role=role)
        yield self.tell(e.Deposit, account=DESK, asset="USDT", amount=D(10**8))
        yield self.tell(e.Deposit, account=BACKSTOP, asset="USDT", amount=D(5000))
        for number in range(self.chance.randrange(4, 11)):
            yield from self._trader(f"t{number}")
        for symbol in FIRST:
            size = D(self.chance.choice((0, 50, 100_000)))
            yield self.tell(e.MarketState, symbol=symbol, long_size=size, short_size=size)

    def _funds(self) -> Iterator[Told]:
        for name in ("", "X", "majors"):
            for asset, most in (("USDT", 400), ("BTC", 1)):
                amount = D(self.chance.choice((0, 10, 100))) * most / 400
                if amount:
                    yield self.tell(e.FundMoved, shard=0, asset=asset, amount=amount, fund=name)

    def _trader(self, name: str) -> Iterator[Told]:
        """Bring in a trader with legs of up to eight times its money each."""
        money = self.chance.choice((100, 300, 1000))
        if self.chance.random() < 0.3:
            yield self.tell(e.Deposit, account=name, asset="BTC", amount=D(money) / 20_000)
        else:
            yield self.tell(e.Deposit, account=name, asset="USDT", amount=D(money))
        for symbol in self.chance.sample(sorted(FIRST), self.chance.randrange(1, 4)):
            wanted = money * self.chance.choice((1, 4, 8)) * self.chance.choice((-1, 1))
            yield from self._traded(name, symbol, wanted)

    def _traded(self, name: str, symbol: str, worth: float) -> Iterator[Told]:
        market = next(one for one in MARKETS if one.name == symbol)
        each = 100 if market.inverse else float(self.prices[symbol])
        lots = int(worth / each / float(market.lot))
        if lots:
            other = self._somebody(name)
            yield self.fill(name, symbol, lots * market.lot, self.prices[symbol])
            yield self.fill(other, symbol, -lots * market.lot, self.prices[symbol])

    def _somebody(self, but: str) -> str:
        known = [one for one in self.engine.accounts if one.startswith("t") and one != but]
        return self.chance.choice(known) if known and self.chance.random() < 0.4 else DESK

    # --- what happens

    def _shock(self) -> Iterator[Told]:
        self.time += self.chance.choice((0, 1, 2, 10)) * SECOND
        symbol = self.chance.choice(sorted(FIRST))
        move = self.chance.choice((0.5, 0.75, 0.85, 0.93, 0.97, 0.99, 1.01, 1.04, 1.1, 1.3, 1.9))
        tick = next(one for one in MARKETS if one.name == symbol).price_unit
        moved = self.prices[symbol] * D(str(move))
        self.prices[symbol] = max(moved.quantize(tick), tick)
        yield self._quoted(symbol)
        if self.chance.random() < 0.3:
            yield self._quoted(symbol)
        if symbol == "I" and self.chance.random() < 0.7:
            price = self.prices["I"]
            yield self.tell(e.PriceUpdate, symbol="BTC", kind="index", price=price, source="venue")
        yield from self._answers()
        yield from self._besides()

    def _quoted(self, symbol: str) -> Told:
        price = self.prices[symbol]
        return self.tell(e.PriceUpdate, symbol=symbol, kind="mark", price=price, source="venue")

    def _besides(self) -> Iterator[Told]:
        """Let something happen that has nothing to do with prices, now and then."""
        draw = self.chance.random()
        traders = [one for one in self.engine.accounts if one.startswith("t")]
        someone = self.chance.choice(traders)
        if draw < 0.1:
            yield self.tell(e.SessionClosed)
        elif draw < 0.2:
            yield self.tell(e.Deposit, account=someone, asset="USDT", amount=D(50))
        elif draw < 0.3:
            amount = D(20)
            yield self.tell(e.Withdrawal, account=someone, asset="USDT", amount=amount)
        elif draw < 0.4:
            symbol = self.chance.choice(sorted(FIRST))
            yield self.tell(self.chance.choice((e.Halt, e.Resume)), symbol=symbol)
        elif draw < 0.5:
            yield from self._traded(someone, self.chance.choice(sorted(FIRST)), 200)
        elif draw < 0.6:
            yield from self._settled_debts()

    def _settled_debts(self) -> Iterator[Told]:
        ledger = self.engine.ledger
        for asset, market in sorted(ledger.bad_debt):
            key = (asset, market)
            left = ledger.bad_debt[key] - ledger.recovered[key] - ledger.written_off[key]
            if left > 0:
                kind = self.chance.choice((e.Recovered, e.WrittenOff))
                yield self.tell(kind, shard=0, asset=asset, market=market, amount=left)
                return

    # --- the venue

    def _hear(self, decision: Any) -> None:
        if isinstance(
            decision,
            d.LiquidationOrder | d.TakeOver | d.Deleverage | d.CollateralSale | d.CancelOrder,
        ):
            self._due.append((self.time, decision))

    def _answers(self, *, always: bool = False) -> Iterator[Told]:
        """Answer what is due; a silent venue answers little before the end."""
        for _ in range(40):
            if not self._due:
                return
            if not always and self.chance.random() < (0.7 if self._silent else 0.1):
                return
            _, asked = self._due.pop(0)
            yield from self._answer(asked)

    def _answer(self, asked: Any) -> Iterator[Told]:
        found = self.engine.find_live(asked.account, asked.order_id)
        if isinstance(asked, d.CancelOrder):
            if found and self.chance.random() < 0.9:
                yield self._closed(asked, found[1].filled)
            return
        if found is None and self.chance.random() < 0.9:
            return
        draw = self.chance.random()
        if draw < 0.1:
            return
        if draw < 0.2:
            if found:
                yield self._closed(asked, found[1].filled)
            return
        part = 0.5 if draw < 0.35 else 1.0
        if isinstance(asked, d.CollateralSale):
            yield from self._sold(asked, part)
        else:
            yield from self._filled(asked, part)

    def _closed(self, asked: Any, filled: D) -> Told:
        about = {"account": asked.account, "order_id": asked.order_id}
        return self.tell(e.OrderClosed, filled_size=filled, **about)

    def _sold(self, sale: d.CollateralSale, part: float) -> Iterator[Told]:
        unit = next(one for one in ASSETS if one.name == sale.asset).unit
        gets = next(one for one in ASSETS if one.name == sale.for_asset).unit
        amount = max((sale.amount * D(str(part))).quantize(unit, "ROUND_DOWN"), unit)
        proceeds = (amount * sale.limit_price).quantize(gets, "ROUND_UP")
        yield self.tell(
            e.CollateralSold, account=sale.account, margin=sale.margin, asset=sale.asset,
            amount=amount, for_asset=sale.for_asset, proceeds=proceeds, order_id=sale.order_id,
        )  # fmt: skip

    def _filled(self, asked: Any, part: float) -> Iterator[Told]:
        market = next(one for one in MARKETS if one.name == asked.symbol)
        lots = max(int(float(asked.size / market.lot) * part), 1)
        size = min(lots * market.lot, asked.size) * (1 if asked.side == "buy" else -1)
        about = {"margin": asked.margin, "order_id": asked.order_id}
        if isinstance(asked, d.LiquidationOrder):
            price = self._price(asked, market.tick)
            yield self.fill(asked.account, asked.symbol, size, price, **about)
            yield self.fill(DESK, asked.symbol, -size, price)
            return
        if isinstance(asked, d.TakeOver):
            other, margin = asked.taker, asked.taker_margin
        else:
            other, margin = asked.counterparty, asked.counterparty_margin
        # Its own fill last: until then what was asked of the other is still reserved.
        yield self.fill(other, asked.symbol, -size, asked.price, margin=margin)
        yield self.fill(asked.account, asked.symbol, size, asked.price, **about)

    def _price(self, order: d.LiquidationOrder, tick: D) -> D:
        """Return a price at the limit or better: the mark, moved by what the order eats."""
        way = -1 if order.side == "sell" else 1
        moved = self.prices[order.symbol] * (1 + way * D(str(self._impact)))
        moved = (moved / tick).quantize(D(1), "ROUND_DOWN") * tick
        if order.side == "sell":
            return max(moved, order.limit_price)
        return max(min(moved, order.limit_price), tick)
