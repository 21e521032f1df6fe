"""What a group has besides its collateral to pay with, and what of its debts is lost; pure, exact.

Values are in the profile's numeraire; docs/semantics.md, 10, has every formula.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from engine.holdings import Holdings
from engine.loan_values import LoanHealth
from engine.margin import Health
from engine.markets import Markets
from engine.money import ZERO, ceil_to, floor_to
from engine.repayment import counting, lending_of
from engine.rules import Rules


class Draw(NamedTuple):
    """An amount of what was supplied to a pool, to come back."""

    pool: str
    amount: Decimal


def backs(holdings: Holdings, rules: Rules) -> bool:
    """Tell whether a group has a supply that counts, prices or not."""
    lending = rules.lending
    return lending is not None and any(
        loan.supplied and loan.enabled and lending.terms_of(pool, holdings.category) is not None
        for pool, loan in holdings.loans.items()
    )


def plan_draws(state: Health, holdings: Holdings, rules: Rules, markets: Markets) -> list[Draw]:
    """Return what comes back of supplies that count to cover negative cash, in the order in which
    the profile converts; no more than their pools can pay."""
    need = sum((-cash * state.prices[a] for a, cash in state.cash.items() if cash < 0), ZERO)
    counts = [loan for loan, _ in counting(state, holdings, rules)]
    found: list[Draw] = []
    for asset in rules.in_force.conversion:
        for loan in counts:
            if loan.asset != asset or need <= 0:
                continue
            enough = ceil_to(need, rules.assets[asset].unit, loan.price)
            amount = min(loan.supplied, markets.lending[loan.pool].cash, enough)
            if amount > 0:
                found.append(Draw(loan.pool, amount))
                need -= amount * loan.price
    return found


def lost(state: Health, holdings: Holdings, rules: Rules, *, paired: bool) -> dict[str, Decimal]:
    """Return what of each debt no collateral will pay for, by pool; nothing where it still may.

    `paired`: there is something to be liquidated. All of the debts is lost where it is not and no
    halt is in the way, or where all collateral is gone, or worth nothing, by the rule of the
    profile; where that recognises insolvency, what they are worth more than all collateral.
    """
    owed = {loan.pool: loan.owed for loan in state.loans if loan.owed}
    if not owed:
        return {}
    recognise = lending_of(rules).bad_debt.recognise
    counts = [loan for loan, _ in counting(state, holdings, rules)]
    nothing = not counts or (recognise == "no_value" and not _worth(counts, rules))
    if nothing and recognise != "insolvent":
        return owed
    if not paired and not any(rules.halts(pool) for pool in (*owed, *(one.pool for one in counts))):
        return owed
    return _insolvent(state, counts, rules) if recognise == "insolvent" else {}


def _worth(counts: list[LoanHealth], rules: Rules) -> Decimal:
    """Return the value of what counts, each part rounded down to the step of values."""
    step = lending_of(rules).value_step
    worth = (loan.supplied * loan.price for loan in counts)
    return sum((one if step is None else floor_to(one, step) for one in worth), ZERO)


def _insolvent(state: Health, counts: list[LoanHealth], rules: Rules) -> dict[str, Decimal]:
    """Return the part of each debt by which all of them are worth more than the collateral."""
    debt = sum((loan.owed * loan.price for loan in state.loans), ZERO)
    short = debt - sum((loan.supplied * loan.price for loan in counts), ZERO)
    if short <= 0:
        return {}
    found = {}
    for loan in state.loans:
        if loan.owed:
            # short · (owed·price ÷ debt) ÷ price, in the debt's own asset: its price cancels out.
            part = ceil_to(short * loan.owed, rules.assets[loan.asset].unit, debt)
            found[loan.pool] = min(loan.owed, part)
    return found
