"""How the venue answers: fully, partly, late, too much, beyond the limit, wrongly, never."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from engine import decisions, events
from tests.histories.listing import quantity
from tests.twin.amounts import decimal
from tests.twin.pools import unit_of

if TYPE_CHECKING:
    from tests.histories.history import History

Make = Callable[[], events.AnyEvent]
Transfer = decisions.TakeOver | decisions.Deleverage
Issued = (
    decisions.LiquidationOrder
    | decisions.CollateralSale
    | decisions.CollateralLiquidation
    | Transfer
)


class Venue:
    """What the venue does about the decisions it reads."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.chance = history.chance
        self.issued: dict[str, Issued] = {}
        self.filled: dict[str, Decimal] = defaultdict(Decimal)

    def read(self, decided: list[decisions.AnyDecision]) -> None:
        """Plan an answer to each decision."""
        for decision in decided:
            match decision:
                case decisions.LiquidationOrder():
                    self.issued[decision.order_id] = decision
                    self._work(decision)
                case decisions.TakeOver() | decisions.Deleverage():
                    self.issued[decision.order_id] = decision
                    self._transfer(decision)
                case decisions.CollateralSale():
                    self.issued[decision.order_id] = decision
                    self._sell(decision)
                case decisions.CollateralLiquidation():
                    self.issued[decision.order_id] = decision
                    self.history.liquidators.read(decision)
                case decisions.AuctionStarted() | decisions.AuctionReset():
                    self.history.liquidators.read(decision)
                case decisions.CancelOrder():
                    self._cancel(decision)
                case decisions.CancelOpenOrders():
                    self._cancel_all(decision)

    def _later(self, make: Make, *, slow: bool = False) -> None:
        delay = self.chance.uniform(4e6, 15e6) if slow else self.chance.expovariate(1 / 300_000)
        self.history.schedule(int(delay), make)

    def _choose(self, **weights: float) -> str:
        return self.chance.choices(list(weights), list(weights.values()))[0]

    # --- liquidation orders

    def _work(self, order: decisions.LiquidationOrder) -> None:
        plan = self._choose(
            full=0.32, parts=0.2, stopped=0.1, never=0.12, late=0.07, excess=0.06, beyond=0.13
        )
        fill = self._fill
        if plan == "full":
            self._later(fill(order, 1.0))
            if self.chance.random() < 0.5:
                self._later(self.closed(order.account, order.order_id))
        elif plan == "parts":
            for _ in range(self.chance.randint(1, 3)):
                self._later(fill(order, self.chance.uniform(0.1, 0.6)))
        elif plan == "stopped":
            self._later(fill(order, self.chance.uniform(0.2, 0.9)))
            self._later(self.closed(order.account, order.order_id))
        elif plan == "late":
            self._later(fill(order, 1.0), slow=True)
        elif plan == "excess":
            self._later(fill(order, self.chance.uniform(1.1, 2.0)))
        elif plan == "beyond":
            self._later(fill(order, 1.0, beyond=True))

    def _fill(
        self, order: decisions.LiquidationOrder, part: float, *, beyond: bool = False
    ) -> Make:
        def make() -> events.AnyEvent:
            contract = self.history.listing.contracts[order.symbol]
            size = quantity(float(order.size) * part, contract.size_decimals)
            size = max(size, Decimal(1).scaleb(-contract.size_decimals))
            worse = -1 if order.side == "sell" else 1
            slip = self.chance.choice((0.0, 0.0, -0.001, -0.01))
            if beyond:
                slip = self.chance.choice((0.002, 0.05, 0.2))
            price = quantity(float(order.limit_price) * (1 + worse * slip), contract.price_decimals)
            price = max(price, contract.tick)
            self.filled[order.order_id] += size
            return self.history.fill(
                order.account,
                order.margin,
                contract,
                size if order.side == "buy" else -size,
                price,
                order_id=order.order_id,
            )

        return make

    # --- transfers

    def _transfer(self, order: Transfer) -> None:
        plan = self._choose(full=0.55, parts=0.13, late=0.08, never=0.1, excess=0.06, alone=0.08)
        if plan == "full":
            self._later(self._moved(order, 1.0))
        elif plan == "parts":
            self._later(self._moved(order, self.chance.uniform(0.1, 0.9)))
            self._later(self.closed(order.account, order.order_id))
        elif plan == "late":
            self._later(self._moved(order, 1.0), slow=True)
        elif plan == "excess":
            self._later(self._moved(order, self.chance.uniform(1.1, 2.0)))
        elif plan == "alone":
            self._later(self._moved(order, 1.0, alone=True))

    def _moved(self, order: Transfer, part: float, *, alone: bool = False) -> Make:
        """Make the fill of the group and, unless it is left out, the one of whoever takes it."""

        def make() -> events.AnyEvent:
            contract = self.history.listing.contracts[order.symbol]
            size = order.size
            if part != 1.0:
                size = quantity(float(order.size) * part, contract.size_decimals)
            size = max(size, Decimal(1).scaleb(-contract.size_decimals))
            signed = size if order.side == "buy" else -size
            price = max(order.price, contract.price_unit)
            self.filled[order.order_id] += size
            name, margin = self._counterparty(order)
            fill = self.history.fill
            sides: list[Make] = [
                lambda: fill(name, margin, contract, -signed, price),
                lambda: fill(
                    order.account, order.margin, contract, signed, price, order_id=order.order_id
                ),
            ]
            if alone or self.chance.random() < 0.2:
                sides.reverse()
            if not alone:
                self.history.queue.appendleft(sides[1])
            return sides[0]()

        return make

    def _counterparty(self, order: Transfer) -> tuple[str, str]:
        if isinstance(order, decisions.TakeOver):
            return order.taker, order.taker_margin
        return order.counterparty, order.counterparty_margin

    # --- ends of orders

    def closed(self, account: str, order_id: str, *, wrongly: bool = False) -> Make:
        """Make the end of an order, with what it filled in all, or something else."""

        def make() -> events.AnyEvent:
            filled = self.filled[order_id]
            if wrongly or self.chance.random() < 0.04:
                filled += self._step(order_id)
            reason = self.chance.choice(("", "filled", "cancelled"))
            return self.history.of(
                account, events.OrderClosed, order_id=order_id, filled_size=filled, reason=reason
            )

        return make

    def _step(self, order_id: str) -> Decimal:
        order = self.issued[order_id]
        if isinstance(order, decisions.CollateralSale):
            return Decimal(1).scaleb(-self.history.listing.assets[order.asset].decimals)
        if isinstance(order, decisions.CollateralLiquidation):
            return decimal(unit_of(self.history.twin.world, order.pool))
        return Decimal(1).scaleb(-self.history.listing.contracts[order.symbol].size_decimals)

    def _cancel(self, order: decisions.CancelOrder) -> None:
        issued = self.issued[order.order_id]
        plan = self._choose(closed=0.75, filled=0.07, wrong=0.05, never=0.13)
        if plan == "filled" and isinstance(issued, decisions.LiquidationOrder):
            self._later(self._fill(issued, self.chance.uniform(0.2, 1.0)))
        elif plan == "filled" and isinstance(issued, Transfer):
            self._later(self._moved(issued, self.chance.uniform(0.2, 1.0)))
        if plan != "never":
            self._later(self.closed(order.account, order.order_id, wrongly=plan == "wrong"))

    def _cancel_all(self, order: decisions.CancelOpenOrders) -> None:
        if self.chance.random() < 0.8:
            self._later(
                lambda: self.history.of(order.account, events.OrdersCancelled, margin=order.margin)
            )

    # --- collateral

    def _sell(self, sale: decisions.CollateralSale) -> None:
        plan = self._choose(full=0.45, parts=0.2, never=0.1, late=0.08, excess=0.07, beyond=0.1)
        if plan == "full":
            self._later(self._sold(sale, 1.0))
            if self.chance.random() < 0.4:
                self._later(self.closed(sale.account, sale.order_id))
        elif plan == "parts":
            self._later(self._sold(sale, self.chance.uniform(0.1, 0.9)))
            self._later(self.closed(sale.account, sale.order_id))
        elif plan == "late":
            self._later(self._sold(sale, 1.0), slow=True)
        elif plan == "excess":
            self._later(self._sold(sale, self.chance.uniform(1.05, 1.5)))
        elif plan == "beyond":
            self._later(self._sold(sale, 1.0, price=0.9))

    def _sold(self, sale: decisions.CollateralSale, part: float, price: float = 1.001) -> Make:
        def make() -> events.AnyEvent:
            assets = self.history.listing.assets
            decimals = assets[sale.asset].decimals
            amount = sale.amount if part == 1.0 else quantity(float(sale.amount) * part, decimals)
            amount = max(amount, Decimal(1).scaleb(-decimals))
            worth = float(amount) * float(sale.limit_price) * price
            self.filled[sale.order_id] += amount
            return self.history.of(
                sale.account,
                events.CollateralSold,
                margin=sale.margin,
                asset=sale.asset,
                amount=amount,
                for_asset=sale.for_asset,
                proceeds=quantity(worth, assets[sale.for_asset].decimals),
                order_id=sale.order_id,
            )

        return make
