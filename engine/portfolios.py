"""The portfolios of one margin group: which legs are in which, and what each needs.

Legs whose rule of margin is a portfolio's are margined together by underlying (their own symbol
where they have none), by the rule of the first of them by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from engine.instruments import Listed
from engine.markets import Markets
from engine.money import ONE, ZERO
from engine.portfolio import Grid, PortfolioLeg, PortfolioMargin, portfolio_margin
from engine.rules import Rules
from engine.weights import Context


def portfolio_leg(
    symbol: str,
    size: Decimal,
    mark: Decimal,
    rules: Rules,
    markets: Markets,
    price: Decimal = ONE,
) -> PortfolioLeg:
    """Return a leg at a mark, with the price of its settlement asset in the numeraire."""
    instrument = rules.derivatives[symbol]
    unit = rules.assets[instrument.settle].unit
    return PortfolioLeg(instrument, size, mark, unit, price, markets.options.get(symbol))


def underlying_of(listed: Listed) -> str:
    """Return the name of the portfolio that positions in a derivative belong to."""
    return listed.underlying or listed.name


def by_underlying(legs: Iterable[PortfolioLeg]) -> dict[str, list[PortfolioLeg]]:
    """Return the legs of each portfolio by underlying, in order of name."""
    found: dict[str, list[PortfolioLeg]] = {}
    for leg in sorted(legs, key=lambda leg: leg.instrument.name):
        found.setdefault(underlying_of(leg.instrument), []).append(leg)
    return found


def portfolio_margins(legs: Iterable[PortfolioLeg], rules: Rules) -> dict[str, PortfolioMargin]:
    """Return what each portfolio needs by underlying, closing costs aside."""
    return {
        underlying: portfolio_margin(_grid(held, rules), held)
        for underlying, held in by_underlying(legs).items()
    }


def requirement_alone(leg: PortfolioLeg, rules: Rules, context: Context) -> Decimal:
    """Return what a leg would need in a portfolio that holds nothing else, losses of extremes in
    full, in the numeraire. To be called in the exact context."""
    return sum(portfolio_requirements([leg], rules, context, damped=False).values(), ZERO)


def portfolio_requirements(
    legs: Iterable[PortfolioLeg], rules: Rules, context: Context, *, damped: bool = True
) -> dict[str, Decimal]:
    """Return what each portfolio of a group needs by underlying, in the numeraire; maintenance
    includes what closing costs. To be called in the exact context."""
    found: dict[str, Decimal] = {}
    for underlying, held in by_underlying(legs).items():
        grid = _grid(held, rules)
        needs = portfolio_margin(grid, held, damped=damped).maintenance
        if context != "maintenance":
            found[underlying] = grid.rule.initial_factor * needs
            continue
        for leg in held:
            needs += rules.closing_rate(leg.instrument.name) * leg.notional * leg.price
        found[underlying] = needs
    return found


def _grid(held: Sequence[PortfolioLeg], rules: Rules) -> Grid:
    symbol = held[0].instrument.name
    grid = rules.grid_of(symbol)
    if grid is None:
        raise LookupError(f"{symbol}: no portfolio rule in force")
    return grid
