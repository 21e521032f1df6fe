"""A shard's state as Prometheus sees it.

A large book takes some tenths of a second to look at: it is done in parts, between which others may
run, while the engine must not change.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from engine import bad_debt, funds
from engine.core import Engine
from engine.guard import forced_flow
from engine.loan_book import LoanBook, pool_views
from engine.loan_book import looked_at as loans_looked_at
from engine.money import ZERO, exact
from engine.rules import Rules
from engine.survey import Survey, surveyed, whole
from producers.metric_families import POOL_AMOUNTS, POOL_RATIOS, Labels

SECOND = 1_000_000

Samples = dict[str, dict[Labels, float]]


class View(NamedTuple):
    """A shard's state as Prometheus sees it; `known` are samples of measures before anything
    happens, all 0."""

    totals: Samples
    gauges: Samples
    known: Samples


def look(engine: Engine) -> View:
    """Look at a shard's state."""
    return whole(looked_at(engine))


def looked_at(engine: Engine) -> Generator[None, None, View]:
    """Look at a shard's state in parts; it must not change before the last one."""
    book = yield from surveyed(engine)
    yield
    gauges = {**_book_gauges(engine, book), **_order_gauges(engine), **_guards(engine)}
    yield
    if engine.rules.lending is not None:
        loans = yield from loans_looked_at(engine)
        gauges.update(_loan_gauges(engine, loans))
        yield
    return View(_totals(engine), gauges, _known(engine))


def _known(engine: Engine) -> Samples:
    """Return what the rules let be measured, all 0."""
    profile = engine.rules.profile
    if profile is None:
        return {}
    layers = profile.waterfall.takers + (("netting",) if profile.liquidation.netting else ())
    markets = [(name, listed.settle) for name, listed in engine.rules.derivatives.items()]
    return {
        "liquidator_transfer_notional": {
            (asset, layer): 0.0 for _, asset in markets for layer in layers
        },
        "liquidator_deleveraging_forgone": dict.fromkeys(markets if "adl" in layers else (), 0.0),
    }


def _totals(engine: Engine) -> Samples:
    """Return the running totals; every market shows 0 before its first loss."""
    ledger = engine.ledger
    return {
        "liquidator_shortfall": _by_market(engine, ledger.shortfall),
        "liquidator_shortfall_paid": _paid(engine),
        "liquidator_paid_for_positions": _of_takers(engine, ledger.paid_for_positions),
        # Who owes an asset and never traded owes it in no market: shown before it happens, too.
        "liquidator_bad_debt": {
            **{(asset, asset): 0.0 for asset in engine.rules.assets},
            **_by_market(engine, ledger.bad_debt),
        },
        "liquidator_bad_debt_recovered": _by_asset(_assets(engine), ledger.recovered),
        "liquidator_bad_debt_written_off": _by_asset(_assets(engine), ledger.written_off),
    }


def _paid(engine: Engine) -> dict[Labels, float]:
    """Return what each layer paid; where a loss is shared it is by lenders of a pool, else by those
    with a position."""
    ledger, rules = engine.ledger, engine.rules
    found = {(*at, "fund"): paid for at, paid in _by_market(engine, ledger.paid_by_fund).items()}
    for at, paid in _by_market(engine, ledger.paid_by_reserve, lent=True).items():
        found[*at, "reserve"] = paid
    shared = _by_market(engine, ledger.socialised, lent=not _shares(rules))
    for at, paid in shared.items():
        found[*at, "socialised" if at[0] in rules.derivatives else "lenders"] = paid
    return found


def _shares(rules: Rules) -> bool:
    """Tell whether the losses of a derivative are socialised."""
    return rules.profile is not None and bool(rules.profile.waterfall.socialised)


def _book_gauges(engine: Engine, book: Survey) -> Samples:
    rules = engine.rules
    settle = {name: listed.settle for name, listed in rules.derivatives.items()}
    numeraire = rules.profile.numeraire if rules.profile else ""
    notional: dict[Labels, float] = {}
    for side, by_market in (("long", book.long_notional), ("short", book.short_notional)):
        for market, value in by_market.items():
            notional[market, settle[market], side] = value
    return {
        "liquidator_accounts": {(state,): count for state, count in book.accounts.items()},
        "liquidator_position_notional": notional,
        "liquidator_unmatched_open_interest": {
            (market,): value for market, value in book.unmatched_open_interest.items()
        },
        "liquidator_gap_waiting_notional": {(numeraire,): book.gap_notional},
        "liquidator_bad_debt_outstanding": _by_market(engine, _outstanding(engine)),
        "liquidator_bad_debt_unrealised": _by_market(engine, book.unrealised),
        "liquidator_bad_debt_holes": _of_takers(engine, book.holes),
        "liquidator_insurance_fund": _funds(engine),
        "liquidator_requirement_factor": {
            (market, kind): float(getattr(state, kind))
            for market, state in engine.markets.volatilities.items()
            for kind in ("initial", "maintenance")
        },
        "liquidator_realised_volatility": {
            (market,): float(state.used) for market, state in engine.markets.volatilities.items()
        },
        "liquidator_price_age_seconds": {
            (mark.symbol, mark.kind): (engine.time - mark.time) / SECOND
            for mark in engine.prices.values()
        },
        "liquidator_engine_time_seconds": {(): engine.time / SECOND},
    }


def _order_gauges(engine: Engine) -> Samples:
    """Return how long liquidations and their orders have been under way."""
    ttl = engine.rules.in_force.liquidation.order_ttl if engine.rules.profile else 0
    begun = [one.liquidation for one in engine.liquidating if one.liquidation is not None]
    issued = [order.expires - ttl for one in begun for order in one.orders.values()]
    opened = [one.opened_at for one in begun if one.opened]
    return {
        "liquidator_orders_live": {(): len(issued)},
        "liquidator_order_age_seconds": {(): _age(engine, issued)},
        "liquidator_liquidation_age_seconds": {(): _age(engine, opened)},
    }


def _age(engine: Engine, times: list[int]) -> float:
    """Return how long ago the first of some times was, 0 where there is none."""
    return max(0, engine.time - min(times, default=engine.time)) / SECOND


def _funds(engine: Engine) -> dict[Labels, float]:
    """Return what each insurance fund holds, by asset and name."""
    rules = engine.rules
    found: dict[Labels, float] = {(asset, funds.VENUE): 0.0 for asset in rules.assets}
    if rules.profile is not None:
        for name, listed in rules.derivatives.items():
            found[listed.settle, funds.name_of(rules, name)] = 0.0
    found.update({key: float(held) for key, held in funds.every(engine.ledger)})
    return found


def _guards(engine: Engine) -> Samples:
    """Return what holds liquidation, or money, back."""
    rules, markets = engine.rules, engine.markets
    found: Samples = {
        "liquidator_market_halted": {
            (name,): float(rules.halts(name)) for name in rules.derivatives
        },
    }
    if rules.profile is None:
        return found
    fuses = rules.profile.liquidation.fuses
    if rules.profile.waterfall.gate:
        found["liquidator_withdrawal_gate_closed"] = {
            (asset,): float(asset in engine.gates.closed) for asset in rules.assets
        }
    if fuses.max_jump is not None:
        found["liquidator_price_held"] = dict.fromkeys(markets.held, 1.0)
    if fuses.max_share_of_oi_per_minute is not None:
        found["liquidator_forced_flow_ratio"] = {
            (name,): _flow(engine, name) for name in rules.derivatives
        }
    return found


def _flow(engine: Engine, symbol: str) -> float:
    """Return forced fills of the last minute as a part of open interest, 0 where that is not
    told."""
    interest = max(engine.markets.interest.get(symbol, (ZERO,)))
    return float(forced_flow(engine, symbol) / interest) if interest else 0.0


def _loan_gauges(engine: Engine, book: LoanBook) -> Samples:
    """Return what there is to show of pools and loans."""
    views = pool_views(engine)
    numeraire = engine.rules.in_force.numeraire
    assets = {pool: view.asset for pool, view in views.items()}
    found: Samples = {
        "liquidator_collateral": {(asset,): held for asset, held in book.collateral.items()},
        "liquidator_debt_by_health": {
            (band, numeraire): owed for band, owed in book.debt_by_health.items()
        },
        "liquidator_seizures_live": {(pool,): book.seizures.get(pool, 0) for pool in views},
        "liquidator_auctions_live": {(pool,): book.auctions.get(pool, 0) for pool in views},
        "liquidator_auction_debt": {
            (pool, asset): float(book.auction_debt.get(pool, 0)) for pool, asset in assets.items()
        },
    }
    for name in POOL_AMOUNTS:
        found[f"liquidator_pool_{name}"] = {
            (pool, view.asset): float(getattr(view, name)) for pool, view in views.items()
        }
    for name in POOL_RATIOS:
        shown = {pool: getattr(view, name) for pool, view in views.items()}
        found[f"liquidator_pool_{name}_ratio"] = {
            (pool,): float(value) for pool, value in shown.items() if value is not None
        }
    return found


def _outstanding(engine: Engine) -> dict[tuple[str, str], Decimal]:
    """Return what nobody paid, repaid or gave up since, by (asset, market)."""
    ledger = engine.ledger
    return {key: bad_debt.outstanding(ledger, key) for key in ledger.bad_debt}


def _by_market(
    engine: Engine, sums: Mapping[tuple[str, str], Decimal], *, lent: bool = False
) -> dict[Labels, float]:
    """Turn sums by (asset, market) into samples by (market, asset); `lent`: of pools alone."""
    rules = engine.rules
    found: dict[Labels, float] = {}
    if not lent:
        found = {(name, listed.settle): 0.0 for name, listed in rules.derivatives.items()}
    if rules.lending is not None:
        found |= {(name, rule.asset): 0.0 for name, rule in rules.lending.pools.items()}
    found.update({(market, asset): float(value) for (asset, market), value in sums.items()})
    return found


def _of_takers(engine: Engine, sums: Mapping[tuple[str, str], Decimal]) -> dict[Labels, float]:
    """Turn sums of those who take positions into samples by asset: 0 where there are such, and
    nothing else is known."""
    rules = engine.rules
    takers = rules.profile.waterfall.takers if rules.profile is not None else ()
    return _by_asset({one.settle for one in rules.derivatives.values() if takers}, sums)


def _assets(engine: Engine) -> set[str]:
    """Return the assets in which something can be lost."""
    return {asset for _, asset in _by_market(engine, {})}


@exact
def _by_asset(
    assets: Iterable[str], sums: Mapping[tuple[str, str], Decimal]
) -> dict[Labels, float]:
    """Turn sums by (asset, market) into samples by asset, 0 for each of `assets` without one."""
    found = dict.fromkeys(assets, ZERO)
    for (asset, _), value in sums.items():
        found[asset] = found.get(asset, ZERO) + value
    return {(asset,): float(value) for asset, value in sorted(found.items())}
