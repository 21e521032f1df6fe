"""The sentences that must hold after every event; cheap enough to be called in production."""

from __future__ import annotations

from decimal import Decimal, localcontext

from engine.core import Engine
from engine.money import EXACT, ZERO, from_units


def check(engine: Engine) -> None:
    """Raise `AssertionError` with the sentence that does not hold, and the numbers."""
    with localcontext(EXACT):
        _value_is_conserved(engine)
        _shortfalls_are_paid(engine)
        _legs_and_liquidations_agree(engine)
        _screens_miss_nothing(engine)


def _value_is_conserved(engine: Engine) -> None:
    ledger = engine.ledger
    for asset, definition in engine.rules.assets.items():
        units = int(sum(engine.book.cash_column(asset).tolist()))
        held = from_units(units, definition.decimals) + ledger.fund[asset] + ledger.fees[asset]
        held += sum((v for (_, a), v in ledger.clearing.items() if a == asset), ZERO)
        held -= sum((v for (a, _), v in ledger.bad_debt.items() if a == asset), ZERO)
        brought = ledger.deposits[asset] - ledger.withdrawals[asset]
        brought += ledger.top_ups[asset] + ledger.adjustments[asset]
        assert held == brought, f"{asset}: value is conserved: holds {held}, was brought {brought}"
        assert ledger.fund[asset] >= 0, f"{asset}: the fund is never negative: {ledger.fund[asset]}"


def _shortfalls_are_paid(engine: Engine) -> None:
    ledger = engine.ledger
    for key, amount in ledger.shortfall.items():
        paid = ledger.paid_by_fund.get(key, ZERO) + ledger.bad_debt.get(key, Decimal(0))
        assert amount == paid, f"{key}: shortfall = paid by fund + bad debt: {amount} != {paid}"


def _legs_and_liquidations_agree(engine: Engine) -> None:
    for symbol, table in engine.book.legs.items():
        for row in table.row_of:
            leg = table.read(row)
            assert leg is not None, f"{symbol} row {row}: a leg has no size 0"
            assert leg.size != 0, f"{symbol} row {row}: a leg has no size 0"
            assert symbol in engine.book.at(row).symbols, f"{symbol} row {row}: not in its group"
    for group in engine.book.all_groups():
        liquidation = group.liquidation
        assert (group in engine.liquidating) == (liquidation is not None), (
            f"{group.key}: what is in liquidation is listed"
        )
        if liquidation is None:
            continue
        idle = not liquidation.orders and liquidation.awaiting_until is None
        empty = not group.symbols and all(amount >= 0 for amount in group.cash.values())
        assert not (idle and empty and not liquidation.waits), (
            f"{group.key}: a liquidation with nothing left to do has ended"
        )


def _screens_miss_nothing(engine: Engine) -> None:
    if not engine.ready or engine.undecided:
        return
    for group in engine.book.all_groups():
        step = engine.next_step_of(group)
        assert step == "rest", f"{group.key}: would {step}, and nothing looks at it"
