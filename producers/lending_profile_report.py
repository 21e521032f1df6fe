"""A lending market's rules, for people: rates, terms of collateral, how loans are liquidated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from math import isqrt

from rich.console import Console
from rich.table import Table

from engine.auction import Decay
from engine.interest import YEAR, RateCurve, kinked_rate
from engine.lending import CloseFactor, FullRepayment, TargetHealth, TargetLoanToValue, WholeAccount
from engine.lending_faults import bonus_at_threshold, most_bonus
from engine.lending_profile import DutchAuction, Lending, PoolRule, Terms
from engine.money import EXACT, ONE, exact, floor_to, nearest_to
from engine.profile import RiskProfile
from engine.seizure import FixedBonus, HealthBonus, HealthDiscount, ThresholdBonus, toxic_above
from producers.report import full, table

HUNDREDTH = Decimal("0.01")
"""Rates, shares and loan-to-values are shown in per cent to this step."""

UTILISATIONS = (0, 50, 80, 90, 100)
"""Where borrowing rates are shown, in per cent."""

RECOGNITION = {
    "no_collateral": "once no collateral is left",
    "no_value": "once what is left of collateral is worth nothing",
    "insolvent": "once the debt is more than the collateral is worth, of the difference",
}

LAYERS = {
    "fund": "the fund",
    "reserve": "the pool's reserve",
    "lenders": "the lenders, by their index",
}


def kind(lending: Lending) -> str:
    """Say in a few words what there is, and how it is liquidated."""
    count = len(lending.pools)
    if lending.auction is not None:
        how = "auctions"
    else:
        how = {
            CloseFactor: "close factor",
            TargetHealth: "target health",
            TargetLoanToValue: "target LTV",
            FullRepayment: "in full",
            WholeAccount: "whole accounts",
        }[type(lending.repay)]
    return f"{count} pools: {how}"


def show(out: Console, profile: RiskProfile, pools: Sequence[str] = ()) -> None:
    """Print pools with their rates, terms of collateral, and how loans are liquidated; of `pools`
    alone where some are named."""
    lending = profile.lending
    if lending is None:
        return
    wanted = [name for name in lending.pools if not pools or name in pools]
    if not wanted:
        return
    out.print(_pools(lending, wanted))
    out.print(_collateral(lending, wanted))
    made = table("Loans", ["Rule", "Value"], left=2)
    made.columns[1].overflow = "fold"
    for name, value in _rules(profile, lending):
        made.add_row(name, value)
    out.print(made)


# --- pools


def _pools(lending: Lending, names: Sequence[str]) -> Table:
    columns = ["Pool", "Asset", *(f"{used} %" for used in UTILISATIONS)]
    columns += ["Reserve", "Supply ≤", "Borrow ≤"]
    made = table(
        "Pools",
        columns,
        left=2,
        caption="What borrowers pay a year by utilisation, in per cent, without compounding.",
    )
    made.columns[0].no_wrap = True
    for name in names:
        rule = lending.pools[name]
        made.add_row(name, rule.asset, *_rates(rule), *_limits(rule))
        if rule.supply_rates is not None and rule.borrowable:
            made.add_row("  supply", "", *_curve(rule.supply_rates, _supply_period(rule)))
    return made


def _rates(rule: PoolRule) -> list[str]:
    if not rule.borrowable:
        return ["—"] * len(UTILISATIONS)
    if rule.accrued_by == "venue":
        return ["told"] * len(UTILISATIONS)
    return _curve(rule.rates, rule.accrual.period)


def _supply_period(rule: PoolRule) -> int:
    return (rule.supply_accrual or rule.accrual).period


@exact
def _curve(curve: RateCurve, period: int) -> list[str]:
    """Write the rates of a year, in per cent."""
    periods = Decimal(YEAR) / period if YEAR % period == 0 else ONE
    rates = (kinked_rate(curve, Decimal(used).scaleb(-2)) for used in UTILISATIONS)
    return [_per_cent(rate * periods) for rate in rates]


def _limits(rule: PoolRule) -> tuple[str, str, str]:
    supply, borrow = rule.supply_cap, rule.borrow_cap
    return (
        _per_cent(rule.reserve_factor) if rule.borrowable and rule.supply_rates is None else "—",
        "—" if supply is None else _short(supply),
        "—" if borrow is None or not rule.borrowable else _short(borrow),
    )


def _short(value: Decimal) -> str:
    """Write a cap in thousands or millions where it is a round number of them."""
    for size, name in ((Decimal(10**6), "M"), (Decimal(10**3), "k")):
        if value >= size and value % (size / 1000) == 0:
            return f"{full(EXACT.divide(value, size).normalize())}{name}"
    return full(value)


@exact
def _per_cent(part: Decimal) -> str:
    return f"{nearest_to(part * 100, HUNDREDTH)}"


def _words(part: Decimal) -> str:
    """Write a share in per cent, all of its decimals."""
    return f"{full((part * 100).normalize())} %"


# --- collateral


def _collateral(lending: Lending, names: Sequence[str]) -> Table:
    made = table(
        "Collateral of loans",
        ["Pool", "Category", "Opens", "Liquidated", "Bonus", "at most", "Toxic above", "Fee"],
        left=2,
        caption="Loan-to-values and shares in per cent. Above the toxic one a partial liquidation "
        "lowers the health of a loan that nothing else backs, even where its sale moves no price. "
        "The fee is of the bonus.",
    )
    made.columns[0].no_wrap = True
    for pool, category, terms in _all_terms(lending):
        if pool in names or category in names:
            made.add_row(pool, category or "—", *_terms(terms))
    return made


def _all_terms(lending: Lending) -> Iterator[tuple[str, str, Terms]]:
    for name, rule in lending.pools.items():
        if rule.collateral is not None:
            yield name, "", rule.collateral
    for name, category in lending.categories.items():
        for pool, terms in category.collateral.items():
            yield pool, name, terms


def _terms(terms: Terms) -> list[str]:
    threshold = terms.liquidation_threshold
    ramp = "" if terms.ramp is None else f"{_per_cent(terms.ramp.start)} → "
    return [
        _per_cent(terms.loan_to_value),
        ramp + _per_cent(threshold),
        _per_cent(bonus_at_threshold(terms.bonus, threshold)),
        _per_cent(most_bonus(terms.bonus, threshold)),
        _floored(frontier(terms)),
        _per_cent(terms.protocol_fee),
    ]


def _floored(part: Decimal) -> str:
    return f"{floor_to(part * 100, HUNDREDTH)}"


@exact
def frontier(terms: Terms) -> Decimal:
    """Return the loan-to-value above which a repayment against this collateral alone lowers health.

    1 ÷ (1 + bonus) for a bonus that stays (arXiv:2510.10171, eq. 2). One that grows by k for each
    1 that health falls from `least`: (1 + k·LT) ÷ (1 + least + k), while it still grows there. A
    discount of what health is short of 1: √LT, or 1 − most where it has stopped. Rounded down.
    """
    bonus, threshold = terms.bonus, terms.liquidation_threshold
    match bonus:
        case FixedBonus() | ThresholdBonus():
            return toxic_above(bonus_at_threshold(bonus, threshold))
        case HealthDiscount():
            return max(_root(threshold), ONE - bonus.most)
        case HealthBonus():
            least = bonus_at_threshold(bonus, threshold)
            span = ONE - bonus.most_at
            # All times (1 − most_at), so that nothing is divided on the way.
            grown = bonus.most - least
            above = floor_to(
                span + grown * threshold, Decimal("1e-18"), span * (ONE + least) + grown
            )
            if above * bonus.most_at > threshold:
                return toxic_above(bonus.most)
            return above


def _root(value: Decimal) -> Decimal:
    """Return √value, rounded down to 10⁻¹⁸."""
    return Decimal(isqrt(int(value.scaleb(36)))).scaleb(-18)


# --- how loans are liquidated


def _rules(profile: RiskProfile, lending: Lending) -> Iterator[tuple[str, str]]:
    sign = "≤ 1" if profile.trigger.at_equality else "< 1"
    yield "Liquidation starts at a health factor", sign
    yield "which is", "Σ collateral · its threshold ÷ Σ debt · its borrow weight"
    if lending.auction is not None:
        yield from _auction(lending.auction)
    else:
        yield from _repayment(lending)
    yield from _impacts(profile, lending)
    yield "Bad debt is recognised", RECOGNITION[lending.bad_debt.recognise]
    layers = ", then ".join(LAYERS[layer] for layer in lending.bad_debt.charge)
    yield "and borne by", layers or "nobody: it stays outstanding"
    for name, rule in lending.pools.items():
        if rule.least_debt:
            yield f"The least debt left in {name}", full(rule.least_debt)
        if rule.isolation is not None:
            ceiling = f"{full(rule.isolation.debt_ceiling)} {profile.numeraire}"
            yield f"{name} backs loans alone", f"of {_isolated(lending)}; all of them ≤ {ceiling}"
    markets = [name for name, one in lending.categories.items() if one.borrowable == (name,)]
    if markets:
        yield "Borrows of the pool of its name alone", f"category {', '.join(markets)}"
    for name, category in lending.categories.items():
        if category.borrowable and name not in markets:
            yield (
                f"In category {name}",
                f"{', '.join(category.borrowable)} alone may be borrowed of",
            )


def _impacts(profile: RiskProfile, lending: Lending) -> Iterator[tuple[str, str]]:
    for pool, category, terms in _all_terms(lending):
        if terms.depth is not None:
            name = f"{pool} ({category})" if category else pool
            depth = f"{full(terms.depth)} {profile.numeraire}"
            yield (
                f"{name} is sold to a pool of",
                f"{depth}: in what is toxic its threshold weighs 1 + 2 · its worth ÷ that",
            )


def _isolated(lending: Lending) -> str:
    return ", ".join(name for name, rule in lending.pools.items() if rule.borrowable_in_isolation)


def _repayment(lending: Lending) -> Iterator[tuple[str, str]]:
    yield "At once is repaid", _amount_repaid(lending)
    if isinstance(lending.repay, WholeAccount):
        return
    collateral = {
        "largest": "of the largest value",
        "lowest_threshold": "with the lowest threshold",
    }[lending.collateral_first]
    yield "of", f"the {lending.debt_first} debt, against the collateral {collateral}"
    if lending.dust is not None:
        ends = "all is repaid" if lending.dust.remedy == "all" else "less is repaid"
        yield "Neither side is left below", f"{full(lending.dust.least)}: else {ends}"


def _amount_repaid(lending: Lending) -> str:
    match lending.repay:
        case CloseFactor() as rule:
            of = "all debt" if rule.of_account else "the debt"
            words = f"{_words(rule.share)} of {of}"
            if rule.full_at:
                words += f"; all of one at a health factor ≤ {full(rule.full_at)}"
            if rule.full_below:
                words += f", or where one side is below {full(rule.full_below)}"
            return words
        case TargetHealth() as rule:
            return f"what brings the health factor to {full(rule.target)}"
        case TargetLoanToValue() as rule:
            every = _words(rule.full_above)
            return (
                f"what brings the loan-to-value to {_words(rule.target)}; all where that is "
                f"more than {every}"
            )
        case FullRepayment():
            return "all that the collateral can pay of a debt"
        case WholeAccount():
            return "all: every collateral is taken, and what it brings beyond is the account's"


def _auction(rule: DutchAuction) -> Iterator[tuple[str, str]]:
    yield "Collateral is sold by", "Dutch auction, for the debt and the bonus as a penalty"
    yield "The price starts at", f"{_words(rule.start_factor)} of the market's"
    yield "and falls", decay_said(rule.decay)
    after, below = _time(rule.reset.after), _words(rule.reset.below)
    yield "It is reset after", f"{after}, or below {below} of the start"
    if rule.most_resets is not None:
        yield "at most", f"{rule.most_resets} times"
    pay = f"{full(rule.pay.flat)} and {_words(rule.pay.share)} of the debt"
    yield "Who starts or resets it gets", pay
    if rule.in_flight is not None:
        limit, each = full(rule.in_flight.limit), full(rule.in_flight.collateral_limit)
        yield "On auction at once", f"at most {limit} of debt, {each} of one collateral"


def decay_said(decay: Decay) -> str:
    """Say how an auction's price falls."""
    if decay.shape == "linear":
        return f"in a line, to nothing in {_time(decay.duration)}"
    by = f"by {_words(ONE - decay.cut)} each {_time(decay.interval)}"
    return f"{by} ({decay.shape.replace('_', ' ')})"


def _time(span: int) -> str:
    """Write a span of microseconds."""
    seconds = span / 1_000_000
    return f"{seconds / 60:g} min" if seconds >= 120 else f"{seconds:g} s"
