"""The sentences that must hold after every event; cheap enough to be called in production."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext

from engine import funds
from engine.bad_debt import outstanding
from engine.core import Engine
from engine.gates import has_to_close
from engine.ledger import Ledger
from engine.money import EXACT, ZERO, from_units


def check(engine: Engine) -> None:
    """Raise `AssertionError` with the sentence that does not hold, and the numbers."""
    with localcontext(EXACT):
        _value_is_conserved(engine)
        _shortfalls_are_paid(engine)
        _pools_balance(engine)
        _legs_and_liquidations_agree(engine)
        _screens_miss_nothing(engine)


def _value_is_conserved(engine: Engine) -> None:
    ledger = engine.ledger
    for asset, definition in engine.rules.assets.items():
        units = int(sum(engine.book.cash_column(asset).tolist()))
        held = from_units(units, definition.decimals) + ledger.fees[asset]
        held += funds.in_all(ledger, asset)
        held += sum((v for (_, a), v in ledger.clearing.items() if a == asset), ZERO)
        held += sum((lot for a, lot in _lots(engine) if a == asset), ZERO)
        held -= sum((v for (a, _), v in ledger.bad_debt.items() if a == asset), ZERO)
        held += sum((v for (a, _), v in ledger.recovered.items() if a == asset), ZERO)
        for name, pool in engine.markets.lending.items():
            if engine.rules.pool(name).asset == asset:
                held += pool.cash + pool.deficit
        brought = ledger.deposits[asset] - ledger.withdrawals[asset]
        brought += ledger.top_ups[asset] + ledger.adjustments[asset]
        assert held == brought, f"{asset}: value is conserved: holds {held}, was brought {brought}"
    for (asset, name), amount in funds.every(ledger):
        assert amount >= 0, f"{asset}: the fund {name} is never negative: {amount}"


def _shortfalls_are_paid(engine: Engine) -> None:
    ledger = engine.ledger
    for key, amount in ledger.shortfall.items():
        layers = (
            ledger.paid_by_fund, ledger.paid_by_reserve, ledger.socialised, ledger.bad_debt
        )  # fmt: skip
        borne = sum((layer.get(key, ZERO) for layer in layers), ZERO)
        assert amount == borne, f"{key}: shortfall = what the layers bore: {amount} != {borne}"
    for name in Ledger.BY_MARKET:
        for key, amount in getattr(ledger, name).items():
            assert amount >= 0, f"{key}: {name} is never negative: {amount}"
    for key in sorted({*ledger.bad_debt, *ledger.recovered, *ledger.written_off}):
        left = outstanding(ledger, key)
        assert left >= 0, f"{key}: no more is recovered and written off than was lost: {left}"
    for asset in engine.rules.assets:
        closed = asset in engine.gates.closed
        assert closed == has_to_close(engine, asset), f"{asset}: its gate is closed: {closed}"


def _lots(engine: Engine) -> Iterator[tuple[str, Decimal]]:
    """Yield what is on auction: asset and amount."""
    for group in engine.liquidating:
        for auction in group.liquidation.auctions.values() if group.liquidation else ():
            yield engine.rules.pool(auction.collateral).asset, auction.lot


def _pools_balance(engine: Engine) -> None:
    for name, pool in engine.markets.lending.items():
        assert not pool.imbalance, f"pool {name}: has {pool.imbalance} more than it owes"
        for column, total in (
            (engine.book.supplied_column(name), pool.supplied),
            (engine.book.owed_column(name), pool.borrowed),
        ):
            found = from_units(int(sum(column.tolist())), engine.book.pools[name])
            assert found == total, f"pool {name}: principals add up to {found}, not {total}"


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
        live = liquidation.orders or liquidation.auctions
        idle = not live and liquidation.awaiting_until is None
        owes = any(amount < 0 for amount in group.cash.values())
        empty = not (group.symbols or owes or any(loan.owed for loan in group.loans.values()))
        assert not (idle and empty and not liquidation.waits), (
            f"{group.key}: a liquidation with nothing left to do has ended"
        )


def _screens_miss_nothing(engine: Engine) -> None:
    if not engine.ready or engine.undecided:
        return
    for group in engine.book.all_groups():
        step = engine.next_step_of(group)
        assert step == "rest", f"{group.key}: would {step}, and nothing looks at it"
