"""The steps of a liquidation of loans, carried out: seizures, own means, what is given up.

The table in `liquidation` says when, plans are made in `repayment`; auctions stand in `auctions`.
Every pool is touched before it changes and written after.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from engine import auctions
from engine import decisions as d
from engine.book import Group
from engine.issuing import issue, known, liquidation_of, make_live
from engine.liquidation import Order, Step
from engine.losses import bear
from engine.margin import Health
from engine.money import ZERO
from engine.recourse import lost, plan_draws
from engine.repayment import has_pair, health_of, plan_seizures
from engine.situation import debts_of
from engine.touch import Touch

if TYPE_CHECKING:
    from engine.core import Engine


def _seize(engine: Engine, group: Group, state: Health | None) -> None:
    """Have collateral seized for a repayment, or put it on auction."""
    health, rules = known(state), engine.rules
    liquidation = liquidation_of(group)
    liquidation.waits = ""
    if rules.lending is not None and rules.lending.auction is not None:
        auctions.begin(engine, group, health)
        return
    for planned in plan_seizures(health, group.holdings, rules, engine.markets):
        issued = issue(engine, group, planned.pool)
        order = Order(
            issued.id, issued.attempt, planned.pool, "buy", planned.repay, ZERO, issued.expires,
            collateral=planned.collateral, seize=planned.seize,
        )  # fmt: skip
        make_live(engine, group, order)
        engine.emit_for(
            group,
            d.CollateralLiquidation,
            order_id=issued.id,
            number=liquidation.number,
            health_factor=health_of(health),
            expires=issued.expires,
            replaces=issued.replaces,
            **planned._asdict(),
        )


def _draw(engine: Engine, group: Group, state: Health | None) -> None:
    """Take back what was lent and is needed to cover negative cash."""
    for name, amount in plan_draws(known(state), group.holdings, engine.rules, engine.markets):
        pool = Touch(engine, name)
        pool.take_supply(group, amount)
        pool.move(cash=-amount)
        engine.book.add_cash(group, pool.asset, amount)
        pool.close()
        engine.emit_for(group, d.SupplyDrawn, pool=name, amount=amount)
    engine.others_changed()


def _set_off(engine: Engine, group: Group, state: Health | None) -> None:
    """Repay pools with the group's own cash, by name of the pool."""
    for name in debts_of(group):
        pool = Touch(engine, name)
        amount = min(pool.owed_by(group), engine.book.cash_of(group, pool.asset))
        if amount <= 0:
            continue
        pool.take_debt(group, amount)
        pool.move(cash=amount)
        engine.book.add_cash(group, pool.asset, -amount)
        pool.close()
        engine.emit_for(group, d.SetOff, pool=name, amount=amount)
    engine.others_changed()


def _give_up(engine: Engine, group: Group, state: Health | None) -> None:
    """Strike what no collateral will pay for off the debts, by name of the pool, and have it
    borne."""
    health, holdings = known(state), group.holdings
    paired = has_pair(health, holdings, engine.rules, engine.markets)
    amounts: dict[str, Decimal] = lost(health, holdings, engine.rules, paired=paired)
    for name in sorted(amounts):
        pool = Touch(engine, name)
        pool.give_up(group, amounts[name])
        bear(engine, group, pool, amounts[name])
        pool.close()
    engine.others_changed()


def _queue(engine: Engine, group: Group, state: Health | None) -> None:
    liquidation = liquidation_of(group)
    liquidation.waits, liquidation.awaits = "capped", ()


LOAN_STEPS: dict[Step, Callable[[Engine, Group, Health | None], None]] = {
    "draw": _draw,
    "set_off": _set_off,
    "seize": _seize,
    "queue": _queue,
    "give_up": _give_up,
}
