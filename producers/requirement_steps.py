"""How a requirement and a weight come about, step by step, for people.

No formula is written anew: each step asks the engine's own curve, with one more part of the rule
than the step before, so that the last one is the requirement itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from msgspec.structs import replace

from engine.holdings import Holdings
from engine.margin import Health, LegHealth, exposure, notional
from engine.markets import Markets
from engine.money import ONE, ZERO
from engine.portfolios import (
    by_underlying,
    portfolio_leg,
    portfolio_margins,
    portfolio_requirements,
)
from engine.profile import Requirement, RiskProfile
from engine.requirement import (
    Curve,
    Exposure,
    RequirementCurve,
    open_interest_share,
    size_premium,
    size_slope,
)
from engine.rules import Rules
from engine.weights import Context
from producers.report import full


class Step(NamedTuple):
    """What is done, and what is needed after it, in the settlement asset."""

    what: str
    amount: Decimal


class _Told(NamedTuple):
    """What a curve is asked for."""

    at: Exposure
    initial: bool
    interest: Decimal | None = None
    factor: Decimal = ONE

    def needs(self, rule: Requirement) -> Decimal:
        """Return what the position needs by `rule`."""
        curve = RequirementCurve(rule)
        if self.initial:
            return curve.initial(self.at, self.interest, self.factor)
        return curve.maintenance(self.at, self.factor)


def rule_key(symbol: str, rules: Rules) -> str:
    """Return the path of the key in the profile by which a symbol is margined."""
    rule, listed = rules.margin_rule(symbol), rules.derivatives[symbol]
    for table in ("requirements", "portfolios"):
        found: dict[str, Any] = getattr(rules.in_force, table)
        for key in (symbol, listed.underlying, "*"):
            if rule is not None and found.get(key) is rule:
                return f'{table}."{key}"' if key == "*" else f"{table}.{key}"
    raise LookupError(f"{symbol}: no rule of margin in force")


def maintenance_steps(leg: LegHealth, rules: Rules, markets: Markets) -> list[Step]:
    """Return how a leg's maintenance requirement comes about. To be called in the exact context."""
    symbol = leg.symbol
    if rules.portfolio_of(symbol) is not None:
        return [Step("what its portfolio would need if it held nothing else", leg.maintenance)]
    at = exposure(rules.derivatives[symbol], leg.size, leg.mark, leg.notional)
    rule, factor = rules.curve(symbol).rule, markets.maintenance_factor(symbol)
    steps = list(_steps(rule, _Told(at, initial=False, factor=factor)))
    if rate := rules.closing_rate(symbol):
        what = f"+ closing at {full(rate)} × notional {full(at.notional)}"
        steps.append(Step(what, steps[-1].amount + rate * at.notional))
    return steps


def initial_steps(
    symbol: str, holdings: Holdings, rules: Rules, markets: Markets
) -> tuple[Decimal, list[Step]]:
    """Return the size that counts at entry, and how its initial requirement comes about, at the
    mark; no steps in a portfolio. To be called in the exact context."""
    leg, instrument = holdings.legs.get(symbol), rules.derivatives[symbol]
    size = leg.size if leg is not None else ZERO
    if rules.in_force.entry.open_orders == "worst_case":
        buys, sells = holdings.orders.get(symbol, (ZERO, ZERO))
        size = max(size + buys, size - sells, key=abs)
    price = markets.price(symbol, "mark")
    if rules.portfolio_of(symbol) is not None or price is None:
        return size, []
    unit = rules.settle_of(symbol).unit
    at = exposure(instrument, size, price, notional(instrument, size, price, unit))
    told, factor = markets.interest.get(symbol), markets.initial_factor(symbol)
    interest = None if told is None else notional(instrument, max(told), price, unit)
    asked = _Told(at, initial=True, interest=interest, factor=factor)
    return size, list(_steps(rules.curve(symbol).rule, asked))


def _steps(rule: Requirement, asked: _Told) -> Iterator[Step]:
    at, share = asked.at, rule.maintenance_share
    # What maintenance is a share of is asked for as initial margin, without what that has alone.
    part = asked._replace(initial=asked.initial or share is not None, factor=ONE)
    so_far = Requirement(rule.brackets, marginal=rule.marginal, measure=rule.measure)
    curve = RequirementCurve(so_far)
    brackets = curve.initial_brackets if part.initial else curve.brackets
    yield Step(_in_bracket(so_far, brackets, at), part.needs(so_far))
    if rule.slope:
        so_far = replace(so_far, slope=rule.slope, slope_per=rule.slope_per)
        yield Step(_slope(rule, at), part.needs(so_far))
    if rule.root_factor:
        so_far = replace(so_far, root_factor=rule.root_factor, root_blend=rule.root_blend)
        yield Step(_root(rule, brackets.rates[0], at), part.needs(so_far))
    if not asked.initial and share is not None:
        if rule.step is not None:
            so_far = replace(so_far, step=rule.step)
            yield Step(f"rounded up to {full(rule.step)}", part.needs(so_far))
        so_far = replace(so_far, maintenance_share=share)
        yield Step(
            f"maintenance is {full(share)} of that", asked._replace(factor=ONE).needs(so_far)
        )
    if asked.initial and rule.open_interest is not None and asked.interest is not None:
        so_far = replace(so_far, open_interest=rule.open_interest)
        gone = open_interest_share(rule.open_interest, asked.interest)
        what = f"open interest {full(asked.interest)}: {full(gone)} of the way to the notional"
        yield Step(what, part.needs(so_far))
    if asked.factor != ONE:
        yield Step(f"× {full(asked.factor)} for volatility", asked.needs(so_far))
    if rule.step is not None and so_far.step is None:
        so_far = replace(so_far, step=rule.step)
        yield Step(f"rounded up to {full(rule.step)}", asked.needs(so_far))
    if rule.fixed:
        so_far = replace(so_far, fixed=rule.fixed)
        yield Step(f"+ {full(rule.fixed)} for each position", asked.needs(so_far))


def _in_bracket(rule: Requirement, curve: Curve, at: Exposure) -> str:
    place = curve.bracket(at)
    rate, amount = full(curve.rates[place]), full(curve.amounts[place])
    said = f"{rate} × notional {full(at.notional)}"
    if rule.marginal:
        said += f" − {amount}"
        if curve.by_size and curve.amounts[place]:
            said += f" × {full(at.price)}"
    if len(curve.caps) == 1:
        return said
    last = place == len(curve.caps) - 1
    edge = curve.caps[place - 1] if last else curve.caps[place]
    reach = f"{rule.measure} {'from' if last else 'to'} {full(edge)}"
    whole = "" if rule.marginal else ", the whole position"
    return f"bracket {place + 1} of {len(curve.caps)} ({reach}{whole}): {said}"


def _slope(rule: Requirement, at: Exposure) -> str:
    per = "" if rule.slope_per == 1 else f" ÷ {full(rule.slope_per)}"
    grown = full(size_slope(rule, at.base))
    return f"rate grows by {full(rule.slope)} × size {full(at.base)}{per} = {grown}"


def _root(rule: Requirement, rate: Decimal, at: Exposure) -> str:
    premium = size_premium(rate, rule.root_factor, at.base, rule.root_blend)
    return (
        f"rate at least {full(rule.root_blend)} × {full(rate)} + {full(rule.root_factor)} × "
        f"√{full(at.base)}: {full(premium)}"
    )


def weight_said(
    asset: str, amount: Decimal, profile: RiskProfile, context: Context, *, told: bool
) -> str:
    """Say where the weight of `amount` of an asset comes from, and by which key of the profile;
    `told` whether its pool is known."""
    if asset not in profile.collateral:
        return "not among the profile's collateral"
    rule = profile.collateral[asset]
    initial = context != "maintenance"
    if amount > 0:
        haircut = rule.haircut
        if initial and rule.initial_haircut is not None:
            haircut = rule.initial_haircut
        said, start = f"1 − haircut {full(haircut)}", rule.deposits_from
    else:
        weight = rule.borrow_weight
        if initial and rule.initial_borrow_weight is not None:
            weight = rule.initial_borrow_weight
        said, start = f"borrow weight {full(weight)}", rule.borrows_from
    if rule.size_factor:
        said += f", size factor {full(rule.size_factor)}"
    if context == "entry" and told and start is not None:
        said += f", pool from {full(start)}"
    return f"{said}, collateral.{asset}"


def portfolios(state: Health, rules: Rules, markets: Markets) -> list[dict[str, Any]]:
    """Return what each portfolio of a group needs and which scenario says so, in the numeraire. To
    be called in the exact context."""
    held = [
        portfolio_leg(leg.symbol, leg.size, leg.mark, rules, markets, state.prices[leg.settle])
        for leg in state.legs
        if rules.portfolio_of(leg.symbol) is not None
    ]
    legs, found = by_underlying(held), []
    for underlying, margin in portfolio_margins(held, rules).items():
        of_it = legs[underlying]
        needs = portfolio_requirements(of_it, rules, "maintenance")[underlying]
        scenario = margin.scenario
        found.append(
            {
                "underlying": underlying,
                "rule": rule_key(of_it[0].instrument.name, rules),
                "symbols": [leg.instrument.name for leg in of_it],
                "worst_loss": margin.worst,
                "price_move": None if scenario is None else scenario.price_move,
                "volatility_move": None if scenario is None else scenario.volatility_move,
                "weight": None if scenario is None else scenario.weight,
                "short_option_minimum": margin.short_minimum,
                "contingencies": margin.contingency,
                "maintenance_factor": margin.factor,
                "closing": needs - margin.maintenance,
                "maintenance": needs,
                "initial": portfolio_requirements(of_it, rules, "initial")[underlying],
            }
        )
    return found
