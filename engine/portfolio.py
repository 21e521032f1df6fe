"""Scenario margin of everything a margin group holds on one underlying; pure and exact.

The grid is every move of the price with every move of the volatility, then moves beyond it that
count in part. What a portfolio needs is its worst loss over all of them, at least a minimum for its
short options, and contingencies. The formulas stand in docs/semantics.md, 9.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from operator import add
from typing import NamedTuple

from engine.instruments import Listed, Option
from engine.money import ONE, RATE_STEP, ZERO, charge, credit, exact, floor_to
from engine.options import OptionInputs, moved_volatility, valued
from engine.profile import Extreme, Portfolio


class Scenario(NamedTuple):
    """A move of the price (a fraction), one of the volatility, how much of the loss counts, and
    what is taken off that, in the numeraire."""

    price_move: Decimal
    volatility_move: Decimal
    weight: Decimal
    relief: Decimal = ZERO


class PortfolioLeg(NamedTuple):
    """One leg at its mark; `unit` and `price` (in the numeraire) are its settlement asset's, and
    `inputs` what an option was valued by."""

    instrument: Listed
    size: Decimal
    mark: Decimal
    unit: Decimal
    price: Decimal = ONE
    inputs: OptionInputs | None = None

    @property
    def is_option(self) -> bool:
        """Whether this is an option rather than its hedge."""
        return isinstance(self.instrument, Option)

    @property
    def notional(self) -> Decimal:
        """What the leg is worth without its sign, in the settlement asset."""
        exposure = abs(self.size) * self.instrument.multiplier
        if self.instrument.inverse:
            return charge(exposure, self.unit, self.mark)
        return exposure * self.mark

    @property
    def underlying_value(self) -> Decimal:
        """What the leg stands for of its underlying, unsigned, in the settlement asset."""
        if not isinstance(self.instrument, Option):
            return self.notional
        exposure = abs(self.size) * self.instrument.multiplier
        return exposure if self.instrument.in_coin else exposure * _known(self).forward


class PortfolioMargin(NamedTuple):
    """What a portfolio needs, in the numeraire; `worst` is the loss that counts in `scenario`, none
    where no scenario loses."""

    worst: Decimal
    scenario: Scenario | None
    short_minimum: Decimal
    contingency: Decimal
    factor: Decimal = ONE

    @property
    def maintenance(self) -> Decimal:
        """The requirement: the worst loss or the minimum of short options, and contingencies, times
        the rule's factor."""
        return self.factor * (max(self.worst, self.short_minimum) + self.contingency)


class Grid:
    """The scenarios of a rule, and what options are worth in them.

    An option is valued once a mark and scenario, whoever holds it: the values are kept until it is
    marked anew.
    """

    __slots__ = ("_valued", "rule", "scenarios")

    def __init__(self, rule: Portfolio) -> None:
        self.rule = rule
        self.scenarios = [
            Scenario(price_move, volatility_move, ONE)
            for price_move in rule.price_moves
            for volatility_move in rule.volatility_moves
        ]
        self.scenarios += [
            Scenario(one.move, one.volatility_move, one.weight, _relief(rule, one))
            for one in rule.extremes
        ]
        self._valued: dict[str, tuple[Option, OptionInputs, tuple[Decimal, ...]]] = {}

    def values(self, option: Option, inputs: OptionInputs) -> tuple[Decimal, ...]:
        """Return what a unit of an option is worth in every scenario."""
        known = self._valued.get(option.name)
        if known is None or known[0] is not option or known[1] != inputs:
            known = option, inputs, self._revalued(option, inputs)
            self._valued[option.name] = known
        return known[2]

    def results(self, leg: PortfolioLeg) -> list[Decimal]:
        """Return what a leg gains (loses if < 0) in every scenario, in its settlement asset."""
        instrument = leg.instrument
        exposure = leg.size * instrument.multiplier
        if isinstance(instrument, Option):
            values = self.values(instrument, _known(leg))
            return [exposure * (value - leg.mark) for value in values]
        if instrument.inverse:
            return [
                credit(exposure * one.price_move, leg.unit, leg.mark * (ONE + one.price_move))
                for one in self.scenarios
            ]
        worth = exposure * leg.mark
        return [worth * one.price_move for one in self.scenarios]

    def _revalued(self, option: Option, inputs: OptionInputs) -> tuple[Decimal, ...]:
        found = []
        for price_move, move, _, _ in self.scenarios:
            volatility = moved_volatility(option, inputs, move, self.rule)
            found.append(valued(option, volatility, inputs.forward * (ONE + price_move), inputs))
        return tuple(found)


@exact
def _relief(rule: Portfolio, extreme: Extreme) -> Decimal:
    """Return (|move| ÷ range − 1)·dampener, at least 0, rounded down to 10^-12 (Deribit's extended
    table, support.deribit.com 25944756247837)."""
    reach = max(abs(move) for move in rule.price_moves)
    beyond = max(abs(extreme.move) - reach, ZERO)
    return floor_to(beyond * rule.dampener, RATE_STEP, reach)


def portfolio_margin(
    grid: Grid, legs: Iterable[PortfolioLeg], *, damped: bool = True
) -> PortfolioMargin:
    """Return what the legs on one underlying need together, losses of extremes dampened where that
    is wanted. To be called in the exact context."""
    rule = grid.rule
    totals: list[Decimal] = []
    short_options = other = ZERO
    for leg in legs:
        results = grid.results(leg)
        if leg.price != ONE:
            results = [result * leg.price for result in results]
        totals = list(map(add, totals, results)) if totals else results
        if not leg.is_option:
            other += leg.underlying_value * leg.price
        elif leg.size < 0:
            short_options += leg.underlying_value * leg.price
    counted = [
        one.weight * total + (one.relief if damped else ZERO)
        for one, total in zip(grid.scenarios, totals, strict=False)
    ]
    worst, scenario = max(ZERO, -min(counted, default=ZERO)), None
    if worst:
        scenario = grid.scenarios[counted.index(-worst)]
    contingency = rule.option_contingency * short_options + rule.future_contingency * other
    minimum = rule.short_option_minimum * short_options
    return PortfolioMargin(worst, scenario, minimum, contingency, rule.maintenance_factor)


def _known(leg: PortfolioLeg) -> OptionInputs:
    if leg.inputs is None:
        raise LookupError(f"portfolio {leg.instrument.name}: an option without a mark")
    return leg.inputs
