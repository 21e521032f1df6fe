"""What must hold of money after every event of a crisis: it is conserved, and borne in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal as D
from itertools import pairwise
from typing import Any

from engine import decisions as d
from engine import events as e
from engine import funds
from engine.core import Engine
from engine.money import ZERO, floor_to

Decided = Sequence[Any]
PAID = (d.FundDraw, d.ReserveDraw, d.LossSocialised, d.LossShared)
LAYERS = {"fund": d.FundDraw, "reserve": d.ReserveDraw, "lenders": d.LossSocialised}


class Books:
    """Keeps what was brought and what the funds held, as told, and compares."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.brought: dict[str, D] = defaultdict(D)
        self.funds: dict[tuple[str, str], D] = {}
        self.paid: dict[tuple[str, str], D] = defaultdict(D)

    def after(self, event: e.AnyEvent, decided: Decided) -> None:
        """Check all of it after an event and what was decided of it."""
        self._told(event, decided)
        self.value_is_conserved()
        self.no_fund_is_negative()
        layers_pay_in_order(self.engine, decided)
        self.no_layer_starts_before_the_funds_are_used_up(decided)
        shares_add_up(self.engine, decided)
        self.funds = dict(funds.every(self.engine.ledger))

    def _told(self, event: e.AnyEvent, decided: Decided) -> None:
        if any(isinstance(one, d.Refused) for one in decided):
            return
        match event:
            case e.Deposit() | e.FundMoved() | e.Recovered():
                self.brought[event.asset] += event.amount
            case e.Withdrawal():
                self.brought[event.asset] -= event.amount
            case _:
                pass

    def value_is_conserved(self) -> None:
        """What all hold is what was brought, to the unit: accounts, funds, fees, what the venue
        clears, pools, lots on auction; what nobody bore is owed to them."""
        ledger, rules = self.engine.ledger, self.engine.rules
        held: dict[str, D] = defaultdict(D)
        for group in self.engine.book.all_groups():
            for asset, amount in group.cash.items():
                held[asset] += amount
            for auction in group.liquidation.auctions.values() if group.liquidation else ():
                held[rules.pool(auction.collateral).asset] += auction.lot
        for asset, amount in ledger.fees.items():
            held[asset] += amount
        for (asset, _), amount in funds.every(ledger):
            held[asset] += amount
        for (_, asset), amount in ledger.clearing.items():
            held[asset] += amount
        for (asset, market), lost in ledger.bad_debt.items():
            held[asset] -= lost - ledger.recovered.get((asset, market), ZERO)
        for name, pool in self.engine.markets.lending.items():
            held[rules.pool(name).asset] += pool.cash + pool.deficit
        for asset in sorted(held):
            assert held[asset] == self.brought[asset], (asset, held[asset], self.brought[asset])

    def no_fund_is_negative(self) -> None:
        """No fund is ever overdrawn."""
        for key, amount in funds.every(self.engine.ledger):
            assert amount >= 0, (key, amount)

    def no_layer_starts_before_the_funds_are_used_up(self, decided: Decided) -> None:
        """Where others bear a loss in derivatives, the funds of the market have paid all that they
        held before, as far as their rules and what they promised let them."""
        rule, held = self.engine.rules.in_force.waterfall.fund, dict(self.funds)
        promised = any(
            order.layer == "fund"
            for group in self.engine.liquidating
            for order in (group.liquidation.orders.values() if group.liquidation else ())
        )
        for one in decided:
            if isinstance(one, d.FundDraw | d.PositionPaid):
                held[one.asset, one.fund] = held.get((one.asset, one.fund), ZERO) - one.amount
                self.paid[one.asset, one.market] += one.amount
            elif promised or rule.whole or not isinstance(one, d.LossShared | d.BadDebt):
                continue
            elif one.market in self.engine.rules.derivatives:
                left = self._could_pay(held, one.asset, one.market)
                assert left <= 0, (one, left)

    def _could_pay(self, held: dict[tuple[str, str], D], asset: str, market: str) -> D:
        rule = self.engine.rules.in_force.waterfall.fund
        left = sum((held.get((asset, name), ZERO) for name in self._payers(market)), ZERO)
        if market not in rule.caps:
            return left
        cap = floor_to(rule.caps[market], self.engine.rules.assets[asset].unit)
        return min(left, cap - self.paid[asset, market])

    def _payers(self, market: str) -> list[str]:
        rule = self.engine.rules.in_force.waterfall.fund
        own = rule.groups.get(market, "") if rule.by == "group" else ""
        own = market if rule.by == "market" else own
        return [own, ""] if own and rule.then_venue else [own]


def layers_pay_in_order(engine: Engine, decided: Decided) -> None:
    """Each layer pays min(remaining, its capacity), one after the other, and all is borne."""
    remaining, place = ZERO, 0
    for one in decided:
        if isinstance(one, d.Shortfall):
            assert remaining == 0, f"a shortfall before {remaining} of the last one was borne"
            remaining, place = one.amount, 0
        elif isinstance(one, PAID):
            assert one.amount == min(remaining, one.capacity), one
            assert one.amount > 0, one
            order = _layers(engine, one.market)
            assert type(one) in order[place:], (one, "pays out of its turn")
            place = order.index(type(one))
            remaining -= one.amount
        elif isinstance(one, d.BadDebt):
            assert one.amount == remaining > 0, one
            remaining = ZERO
    assert remaining == 0, f"{remaining} of a shortfall was borne by nobody"


def _layers(engine: Engine, market: str) -> list[type[Any]]:
    """Return who pays for a market, in order."""
    lending = engine.rules.in_force.lending
    if market in engine.rules.derivatives or lending is None or market not in lending.pools:
        return [d.FundDraw, d.LossShared]
    return [LAYERS[name] for name in lending.bad_debt.charge]


def shares_add_up(engine: Engine, decided: Decided) -> None:
    """Of a loss that is shared each bears one part; together that and the rounding, which is less
    than a unit each."""
    for place, shared in enumerate(decided):
        if not isinstance(shared, d.LossShared):
            continue
        charged = []
        for one in decided[place + 1 :]:
            if not isinstance(one, d.LossCharged):
                break
            charged.append(one)
        names = [(one.account, one.margin) for one in charged]
        assert all(one < other for one, other in pairwise(names)), (
            "somebody is charged twice",
            names,
        )
        total = sum((one.amount for one in charged), ZERO)
        assert total == shared.amount + shared.excess, (shared, total)
        unit = engine.rules.assets[shared.asset].unit
        assert 0 <= shared.excess < unit * len(charged), shared


def nobody_is_charged_below_zero(engine: Engine, decided: Decided) -> None:
    """A socialised charge takes no account below zero, and no lender's supply.

    What is set off after it in the same event may cost a unit of each pool.
    """
    for one in decided:
        if isinstance(one, d.LossCharged):
            state = engine.health_of(engine.group_of(one.account, one.margin))
            assert state is not None, one
            names = (one.account, one.margin)
            after = [it for it in decided if isinstance(it, d.SetOff)]
            after = [it for it in after if (it.account, it.margin) == names]
            price = state.prices.get(one.asset) or engine.price_of(one.asset)
            unit = engine.rules.assets[one.asset].unit
            assert state.equity >= -2 * len(after) * unit * price, (one, state.equity)
        elif isinstance(one, d.LossSocialised):
            assert 0 < one.after < one.before, one
