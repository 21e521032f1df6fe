"""The loss of a pool: who bears it, layer by layer, in the order of the profile."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from engine import decisions as d
from engine import funds
from engine.book import Group
from engine.issuing import liquidation_of
from engine.money import ZERO
from engine.pools import bearable
from engine.touch import Touch
from engine.waterfall import Layer, Payment, allocate

if TYPE_CHECKING:
    from engine.core import Engine


def bear(engine: Engine, group: Group, pool: Touch, amount: Decimal) -> None:
    """Have an amount that a pool will not see again borne: each layer what it can, then nobody."""
    ledger, key = engine.ledger, (pool.asset, pool.name)
    ledger.shortfall[key] += amount
    about = {"asset": pool.asset, "market": pool.name}
    number = liquidation_of(group).number
    engine.emit_for(group, d.Shortfall, number=number, amount=amount, **about)
    payments, rest = allocate(amount, dict(_capacities(engine, pool, amount)))
    for payment in payments:
        if payment.amount:
            _PAY[payment.layer[0]](engine, group, pool, payment)
    if not rest:
        return
    pool.move(deficit=rest)
    ledger.bad_debt[key] += rest
    engine.funds_changed(pool.asset)
    group.account.debts += 1
    engine.emit_for(
        group,
        d.BadDebt,
        id=f"{group.account.id}:debt:{group.account.debts}",
        number=number,
        cause=liquidation_of(group).reason,
        amount=rest,
        **about,
    )


def _capacities(engine: Engine, pool: Touch, amount: Decimal) -> Iterator[tuple[Layer, Decimal]]:
    """Yield what each layer could bear of what those above leave."""
    lending, left = engine.rules.lending, amount
    for layer in () if lending is None else lending.bad_debt.charge:
        if layer == "fund":
            found = funds.capacities(engine, pool.asset, pool.name, left)
        elif layer == "reserve":
            found = {(layer, ""): max(pool.state.reserve, ZERO)}
        else:
            found = {(layer, ""): bearable(pool.state, pool.unit)}
        yield from found.items()
        left -= min(left, sum(found.values(), ZERO))


def _of_fund(engine: Engine, group: Group, pool: Touch, payment: Payment) -> None:
    pool.move(cash=payment.amount)
    funds.draw(engine, group, pool.asset, pool.name, payment)


def _of_reserve(engine: Engine, group: Group, pool: Touch, payment: Payment) -> None:
    engine.ledger.paid_by_reserve[pool.asset, pool.name] += payment.amount
    pool.move(reserve=-payment.amount)
    _say(engine, group, d.ReserveDraw, pool, payment)


def _of_lenders(engine: Engine, group: Group, pool: Touch, payment: Payment) -> None:
    engine.ledger.socialised[pool.asset, pool.name] += payment.amount
    before, after = pool.socialise(payment.amount)
    _say(engine, group, d.LossSocialised, pool, payment, before=before, after=after)


def _say(
    engine: Engine,
    group: Group,
    kind: type[d.GroupDecision],
    pool: Touch,
    payment: Payment,
    **more: Decimal,
) -> None:
    engine.emit_for(
        group,
        kind,
        asset=pool.asset,
        market=pool.name,
        amount=payment.amount,
        capacity=payment.capacity,
        **more,
    )


_PAY = {"fund": _of_fund, "reserve": _of_reserve, "lenders": _of_lenders}
