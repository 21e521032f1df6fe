"""The venue of a crisis: what it lists, how it numbers events, and how it answers decisions."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_DOWN, ROUND_UP
from decimal import Decimal as D
from random import Random
from typing import Any

from engine import decisions as d
from engine import events as e
from engine.core import Engine
from engine.instruments import Asset, Option, Perpetual
from engine.profile import DAY
from engine.profile_faults import faults
from tests.crises.rules import draw_rules

LARGEST = D(10) ** 9
USDT, BTC = Asset("USDT", 4, LARGEST), Asset("BTC", 8, LARGEST, price_decimals=2)
ASSETS = {asset.name: asset for asset in (USDT, BTC)}
ON_X = {"size_decimals": 1, "price_decimals": 2, "tick": D("0.01"), "lot": D("0.1")}
ON_X |= {"largest_size": LARGEST, "taker_fee": D("0.0005"), "underlying": "X"}
PERPETUALS = (
    Perpetual("X", "USDT", **ON_X),
    Perpetual("Y", "USDT", 0, 3, D("0.001"), D(1), LARGEST, taker_fee=D(0)),
    Perpetual("I", "BTC", 0, 1, D("0.5"), D(1), LARGEST, style="inverse", multiplier=D(100)),
)
OPTIONS = (
    Option("CALL", "USDT", **ON_X, kind="call", strike=D(105), expiry=20 * DAY),
    Option("PUT", "USDT", **ON_X, kind="put", strike=D(95), expiry=20 * DAY),
)
FIRST = {"X": D(100), "Y": D(5), "I": D(20_000)}
DESK = "desk"
"""A market maker that takes the other side of what the market fills, and never lacks money."""

Told = tuple[e.AnyEvent, list[Any]]
ASKED = (
    d.LiquidationOrder | d.TakeOver | d.Deleverage | d.CollateralSale | d.CancelOrder
    | d.CollateralLiquidation | d.AuctionStarted | d.AuctionReset
)  # fmt: skip


class Venue:
    """A venue under the rules of a seed: it fills, lags, or is silent."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(f"crisis {seed}")
        self.engine = Engine(shard=0)
        self.profile = draw_rules(self.chance)
        assert faults(self.profile) == []
        self.markets: dict[str, Perpetual | Option] = {one.name: one for one in PERPETUALS}
        if self.profile.portfolios:
            self.markets |= {one.name: one for one in OPTIONS}
        self.prices = dict(FIRST)
        self.time = 0
        self._sequences: dict[str, int] = {}
        self._fills = 0
        self._due: list[Any] = []
        self._auctions: dict[str, d.AuctionStarted] = {}
        self._silent = self.chance.random() < 0.2
        self._impact = self.chance.choice((0.0, 0.01, 0.05))

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

    def fair(self, symbol: str) -> D:
        """Return what a market trades at; an option at what the engine makes of it."""
        return self.prices.get(symbol) or self.engine.prices[symbol, "mark"].price

    # --- answers

    def _hear(self, decision: Any) -> None:
        if isinstance(decision, ASKED):
            self._due.append(decision)

    def answers(self, *, always: bool = False) -> Iterator[Told]:
        """Answer what is due; a silent venue answers little before the end."""
        for _ in range(40):
            if not self._due:
                return
            if not always and self.chance.random() < (0.7 if self._silent else 0.1):
                return
            yield from self._answer(self._due.pop(0))

    def _answer(self, asked: Any) -> Iterator[Told]:
        if isinstance(asked, d.AuctionStarted | d.AuctionReset):
            yield from self._taken(asked)
            return
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
        elif isinstance(asked, d.CollateralLiquidation):
            yield self._seized(asked, D(str(part)))
        else:
            yield from self._filled(asked, part)

    def _closed(self, asked: Any, filled: D) -> Told:
        about = {"account": asked.account, "order_id": asked.order_id}
        return self.tell(e.OrderClosed, filled_size=filled, **about)

    def _sold(self, sale: d.CollateralSale, part: float) -> Iterator[Told]:
        unit, gets = ASSETS[sale.asset].unit, ASSETS[sale.for_asset].unit
        amount = max((sale.amount * D(str(part))).quantize(unit, "ROUND_DOWN"), unit)
        proceeds = (amount * sale.limit_price).quantize(gets, "ROUND_UP")
        yield self.tell(
            e.CollateralSold, account=sale.account, margin=sale.margin, asset=sale.asset,
            amount=amount, for_asset=sale.for_asset, proceeds=proceeds, order_id=sale.order_id,
        )  # fmt: skip

    def _seized(self, asked: d.CollateralLiquidation, part: D) -> Told:
        """Repay all or a part, and take in proportion; what is paid in supply goes to the desk."""
        repaid = max((asked.repay * part).quantize(USDT.unit, ROUND_DOWN), USDT.unit)
        seized = (asked.seize * repaid / asked.repay).quantize(BTC.unit, ROUND_DOWN)
        fee = min((asked.fee * part).quantize(BTC.unit, ROUND_DOWN), seized)
        return self.tell(
            e.Seized, account=asked.account, margin=asked.margin, pool=asked.pool, repaid=repaid,
            collateral=asked.collateral, seized=seized, fee=fee, order_id=asked.order_id,
            liquidator=DESK if asked.paid_in == "supply" else "",
        )  # fmt: skip

    def _taken(self, asked: d.AuctionStarted | d.AuctionReset) -> Iterator[Told]:
        """Take all of an auction, at a tenth less than where it started, or nothing."""
        if isinstance(asked, d.AuctionStarted):
            self._auctions[asked.auction_id] = asked
        if self.chance.random() < 0.4:
            return
        lot, debt = self._auctions[asked.auction_id].lot, self._auctions[asked.auction_id].debt
        price = asked.start_price * D("0.9")
        amount = min(lot, (debt / price).quantize(BTC.unit, ROUND_UP))
        paid = min(debt, (amount * price).quantize(USDT.unit, ROUND_DOWN))
        yield self.tell(
            e.AuctionTaken, account=asked.account, margin=asked.margin,
            auction_id=asked.auction_id, amount=amount, paid=paid,
        )  # fmt: skip

    def _filled(self, asked: Any, part: float) -> Iterator[Told]:
        market = self.markets[asked.symbol]
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
        moved = self.fair(order.symbol) * (1 + way * D(str(self._impact)))
        moved = (moved / tick).quantize(D(1), "ROUND_DOWN") * tick
        if order.side == "sell":
            return max(moved, order.limit_price)
        return max(min(moved, order.limit_price), tick)
