"""Which events may be applied: what each must satisfy, given the rules and the book.

Everything is checked before anything changes. A refusal is a pair (rule, detail); the first one
found counts. Numbers are known to be finite and of a readable size here (`wire` sees to that).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from engine import bad_debt, funds, instruments, loan_admission, profile_faults
from engine import conditions as check
from engine import events as e
from engine.booking import funding_cash, funding_price, settlement_cash
from engine.conditions import NO_LEG, Checks, Refusal
from engine.fills import fill_effect
from engine.instruments import Asset, Listed, Option
from engine.money import ZERO, plain
from engine.profile import RiskProfile, margin_rule

if TYPE_CHECKING:
    from engine.core import Engine


ACCOUNT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LARGEST_DISCOUNT = 2
"""Discount factors up to this are believed: rates may be below zero."""

OPENING = (e.AccountOpened, e.Deposit, e.PositionSnapshot)


def unknown(engine: Engine, event: e.Event) -> Refusal | None:
    """Return why an event cannot be placed at all: no profile, or an unknown symbol or account."""
    if isinstance(event, e.PriceEvent):
        if not engine.ready:
            return "no_profile", "no profile is in force"
        if engine.rules.definition(event.symbol) is None:
            return "unknown_symbol", f"{event.symbol} is not listed"
    elif isinstance(event, e.AccountEvent):
        if not engine.ready:
            return "no_profile", "no profile is in force"
        if ACCOUNT_ID.fullmatch(event.account) is None:
            return "account_id", f"{event.account!r} is no account id"
        if event.account not in engine.accounts and not isinstance(event, OPENING):
            return "unknown_account", f"{event.account} was never opened"
    elif isinstance(event, e.FundingRate | e.Settled | e.MarketState):
        return check.derivative(engine, event.symbol)
    elif isinstance(event, e.PoolState):
        return check.asset(engine, event.pool)
    elif isinstance(event, e.InterestAccrued):
        return check.pool(engine, event.pool)
    return None


def refusal(engine: Engine, event: e.Event) -> Refusal | None:
    """Return the first rule that an event breaks, with the detail; none if it may be applied."""
    checks = CHECKS.get(type(event))
    if checks is None:
        return None
    for found in checks(engine, event):
        if found is not None:
            return found
    return None


# --- one generator a type: later checks may rely on earlier ones


def _price(engine: Engine, event: e.PriceUpdate) -> Checks:
    listed = engine.rules.definition(event.symbol)
    if isinstance(listed, Asset):
        if event.symbol == engine.rules.in_force.numeraire:
            yield "numeraire", f"{event.symbol} is the numeraire: its price is 1"
        if event.kind != "index":
            yield "price_kind", f"{event.symbol} is an asset: it has an index price only"
    if isinstance(listed, Option) and event.kind == "mark":
        yield "price_kind", f"{event.symbol} is an option: its mark comes of OptionMark only"
    yield check.positive("price", event.price)
    if listed is not None:
        yield check.decimals("price", event.price, listed.price_decimals, event.symbol)


def _option_mark(engine: Engine, event: e.OptionMark) -> Checks:
    if not isinstance(engine.rules.definition(event.symbol), Option):
        yield "not_option", f"{event.symbol} is no option"
    yield check.not_negative("iv", event.iv)
    yield check.positive("forward", event.forward)
    if not 0 < event.discount <= LARGEST_DISCOUNT:
        yield "discount", f"discount {plain(event.discount)} is not in (0, {LARGEST_DISCOUNT}]"


def _market_state(engine: Engine, event: e.MarketState) -> Checks:
    decimals = engine.rules.derivatives[event.symbol].size_decimals
    for name in ("long_size", "short_size"):
        size: Decimal = getattr(event, name)
        yield check.not_negative(name, size)
        yield check.decimals(name, size, decimals, event.symbol)


def _pool_state(engine: Engine, event: e.PoolState) -> Checks:
    for name in ("supplied", "borrowed"):
        amount: Decimal = getattr(event, name)
        yield check.not_negative(name, amount)
        yield check.amount(engine, name, amount, event.pool)


def _external(engine: Engine, event: e.Deposit | e.Withdrawal) -> Checks:
    yield check.asset(engine, event.asset)
    yield check.positive("amount", event.amount)
    yield check.amount(engine, "amount", event.amount, event.asset)
    change = event.amount if isinstance(event, e.Deposit) else -event.amount
    yield check.cash_limit(engine, event.account, e.CROSS, {event.asset: change})


def _account_closed(engine: Engine, event: e.AccountClosed) -> Checks:
    for group in engine.accounts[event.account].ordered_groups():
        if group.cash or group.symbols or group.loans or group.liquidation:
            yield "not_empty", f"{group.margin} still has cash, legs, loans or a liquidation"
        if engine.transfers.against(group.key):
            yield "not_empty", f"{group.margin} is still to take what a live transfer says"


def _margin_moved(engine: Engine, event: e.MarginMoved) -> Checks:
    yield check.derivative(engine, event.symbol)
    asset = engine.rules.settle_of(event.symbol).name
    if event.amount == 0:
        yield "not_positive", "amount is zero"
    yield check.amount(engine, "amount", event.amount, asset)
    yield check.cash_limit(engine, event.account, e.CROSS, {asset: -event.amount})
    yield check.cash_limit(engine, event.account, e.isolated(event.symbol), {asset: event.amount})


def _snapshot(engine: Engine, event: e.PositionSnapshot) -> Checks:
    margins = [group.margin for group in event.groups]
    if len(set(margins)) != len(margins):
        yield "margin", "a margin group is named twice"
    for group in event.groups:
        yield check.margin(engine, group.margin, None)
        for asset, amount in group.balances.items():
            yield check.asset(engine, asset)
            yield check.amount(engine, "balance", amount, asset)
            if abs(amount) > engine.rules.assets[asset].largest:
                yield "limit", f"balance {plain(amount)} {asset} passes its largest"
        symbols = [leg.symbol for leg in group.legs]
        if len(set(symbols)) != len(symbols):
            yield "symbol", f"{group.margin} names a symbol twice"
        yield from loan_admission.snapshot(engine, group)
        for leg in group.legs:
            yield check.trading(engine, leg.symbol)
            yield check.margin(engine, group.margin, leg.symbol)
            instrument = engine.rules.derivatives[leg.symbol]
            asset_of = engine.rules.settle_of(leg.symbol)
            if leg.size == 0:
                yield "zero_size", f"leg {leg.symbol} has no size"
            yield check.decimals("size", leg.size, instrument.size_decimals, leg.symbol)
            yield check.decimals("cost", leg.cost, asset_of.decimals, asset_of.name)
            yield check.leg_limit(instrument, asset_of, leg.size, leg.cost)


def _fill(engine: Engine, event: e.Fill) -> Checks:
    yield check.trading(engine, event.symbol)
    yield check.margin(engine, event.margin, event.symbol)
    yield check.asset(engine, event.fee_asset)
    instrument = engine.rules.derivatives[event.symbol]
    if event.size == 0:
        yield "zero_size", "size is zero"
    yield check.positive("price", event.price)
    yield check.decimals("size", event.size, instrument.size_decimals, event.symbol)
    yield check.decimals("price", event.price, instrument.price_decimals, event.symbol)
    yield check.amount(engine, "fee", event.fee, event.fee_asset)
    if event.order_id:
        yield check.issued(engine, event.account, event.order_id, event.margin, event.symbol)
    asset = engine.rules.settle_of(event.symbol)
    group = engine.accounts[event.account].groups.get(event.margin)
    leg = engine.book.leg_of(group, event.symbol) if group else None
    effect = fill_effect(instrument, asset.unit, leg, event.size, event.price)
    yield check.leg_limit(instrument, asset, effect.size, effect.cost, leg or NO_LEG)
    changes = {event.fee_asset: -event.fee}
    changes[asset.name] = changes.get(asset.name, ZERO) + effect.cash
    yield check.cash_limit(engine, event.account, event.margin, changes)


def _open_orders(engine: Engine, event: e.OpenOrders) -> Checks:
    yield check.derivative(engine, event.symbol)
    yield check.margin(engine, event.margin, event.symbol)
    decimals = engine.rules.derivatives[event.symbol].size_decimals
    for name, size in (("buy_size", event.buy_size), ("sell_size", event.sell_size)):
        yield check.not_negative(name, size)
        yield check.decimals(name, size, decimals, event.symbol)


def _orders_cancelled(engine: Engine, event: e.OrdersCancelled) -> Checks:
    yield check.margin(engine, event.margin, None)


def _order_closed(engine: Engine, event: e.OrderClosed) -> Checks:
    yield check.issued(engine, event.account, event.order_id, None, None)
    yield check.not_negative("filled_size", event.filled_size)
    symbol = event.order_id.rpartition(":")[2]
    instrument = engine.rules.derivatives.get(symbol)
    asset = engine.rules.pool(symbol).asset if check.is_pool(engine, symbol) else symbol
    if instrument is not None:
        yield check.decimals("filled_size", event.filled_size, instrument.size_decimals, symbol)
    elif asset in engine.rules.assets:  # Else of a pool that is no more.
        yield check.amount(engine, "filled_size", event.filled_size, asset)


def _funding_paid(engine: Engine, event: e.FundingPaid) -> Checks:
    yield check.trading(engine, event.symbol)
    yield check.margin(engine, event.margin, event.symbol)
    yield _funding_by(engine, event.symbol, "venue")
    asset = engine.rules.settle_of(event.symbol).name
    yield check.amount(engine, "amount", event.amount, asset)
    yield check.cash_limit(engine, event.account, event.margin, {asset: event.amount})


def _funding_by(engine: Engine, symbol: str, who: str) -> Refusal | None:
    funding = getattr(engine.rules.derivatives[symbol], "funding", None)
    if funding == who:
        return None
    detail = f"is computed by the {funding}" if funding else "is not paid"
    return "funding", f"funding of {symbol} {detail}"


def _collateral_sold(engine: Engine, event: e.CollateralSold) -> Checks:
    yield check.margin(engine, event.margin, None)
    yield check.asset(engine, event.asset)
    yield check.asset(engine, event.for_asset)
    if event.asset == event.for_asset:
        yield "same_asset", f"{event.asset} sold for itself"
    yield check.positive("amount", event.amount)
    yield check.not_negative("proceeds", event.proceeds)
    yield check.amount(engine, "amount", event.amount, event.asset)
    yield check.amount(engine, "proceeds", event.proceeds, event.for_asset)
    if event.order_id:
        yield check.issued(engine, event.account, event.order_id, event.margin, event.asset)
    changes = {event.asset: -event.amount, event.for_asset: event.proceeds}
    yield check.cash_limit(engine, event.account, event.margin, changes)


def _funding_rate(engine: Engine, event: e.FundingRate) -> Checks:
    yield check.trading(engine, event.symbol)
    yield _funding_by(engine, event.symbol, "engine")
    price = funding_price(engine, event.symbol)
    if price is None:
        yield "no_price", f"{event.symbol} has no price yet"
        return
    instrument = engine.rules.derivatives[event.symbol]
    asset = engine.rules.settle_of(event.symbol)
    for group in engine.book.holders(event.symbol):
        leg = group.legs[event.symbol]
        change = {asset.name: funding_cash(instrument, asset.unit, leg, price, event.rate)}
        yield check.cash_limit(engine, group.account.id, group.margin, change)


def _settled(engine: Engine, event: e.Settled) -> Checks:
    yield check.trading(engine, event.symbol)
    instrument = engine.rules.derivatives[event.symbol]
    yield check.positive("price", event.price)
    yield check.decimals("price", event.price, instrument.price_decimals, event.symbol)
    asset = engine.rules.settle_of(event.symbol)
    for group in engine.book.holders(event.symbol):
        leg = group.legs[event.symbol]
        change = {asset.name: settlement_cash(instrument, asset.unit, leg, event.price)}
        yield check.cash_limit(engine, group.account.id, group.margin, change)


def _fund_moved(engine: Engine, event: e.FundMoved) -> Checks:
    if event.shard != engine.shard:
        return
    yield check.asset(engine, event.asset)
    yield check.amount(engine, "amount", event.amount, event.asset)
    if event.pool and event.fund:
        yield "fund", f"the reserve of {event.pool} or the fund {event.fund}: one of them, not both"
    if event.pool:
        yield from loan_admission.reserve_moved(engine, event)
    elif funds.held(engine.ledger, event.asset, event.fund) + event.amount < 0:
        named = f"fund {event.fund}" if event.fund else "fund"
        yield "fund", f"the {named} of shard {event.shard} holds less {event.asset}"


def _halt(engine: Engine, event: e.Halt | e.Resume) -> Checks:
    if event.symbol and not check.is_pool(engine, event.symbol):
        yield check.derivative(engine, event.symbol)


def _instrument_listed(engine: Engine, event: e.InstrumentListed) -> Checks:
    new = event.instrument
    found = instruments.faults(new)
    if found:
        yield "instrument", "; ".join(found)
    rules = engine.rules
    old = rules.definition(new.name)
    if old is not None and _identity(old) != _identity(new):
        yield "instrument", f"{new.name}: type, settlement, style, terms and decimals stay"
    if check.is_pool(engine, new.name) and rules.pool(new.name).asset != new.name:
        yield "instrument", f"{new.name} is a pool of {rules.pool(new.name).asset}"
    if isinstance(new, Asset):
        return
    yield check.asset(engine, new.settle)
    if rules.profile is None or not _has_margin(rules.profile, new):
        yield "instrument", f"{new.name} has no rule of margin in force"


def _identity(instrument: instruments.Instrument) -> tuple[Any, ...]:
    if isinstance(instrument, Asset):
        return (Asset, instrument.decimals, instrument.price_decimals)
    terms: tuple[Any, ...] = ()
    if isinstance(instrument, Option):
        terms = instrument.kind, instrument.strike, instrument.expiry
    return (
        type(instrument),
        terms,
        instrument.settle,
        instrument.style,
        instrument.multiplier,
        instrument.size_decimals,
        instrument.price_decimals,
        (instrument.kind, instrument.strike, instrument.expiry)
        if isinstance(instrument, Option)
        else None,
    )


def _has_margin(profile: RiskProfile, listed: Listed) -> bool:
    option = isinstance(listed, Option)
    return margin_rule(profile, listed.name, listed.underlying, option=option) is not None


def _profile_changed(engine: Engine, event: e.ProfileChanged) -> Checks:
    found = profile_faults.faults(event.profile)
    found += [
        f"requirements {symbol}: missing, and {symbol} is listed"
        for symbol, listed in sorted(engine.rules.derivatives.items())
        if not _has_margin(event.profile, listed)
    ]
    old = engine.rules.profile
    if old is not None and old.numeraire != event.profile.numeraire and engine.accounts:
        found.append(f"numeraire {event.profile.numeraire}: accounts are kept in {old.numeraire}")
    found += _pools(engine, event.profile)
    if found:
        yield "profile", "; ".join(found)


def _pools(engine: Engine, profile: RiskProfile) -> Iterator[str]:
    """Yield what of a profile's pools contradicts what is listed, or what pools hold already."""
    new = profile.lending.pools if profile.lending is not None else {}
    for name, rule in new.items():
        if rule.asset not in engine.rules.assets:
            yield f"lending pools {name}: asset {rule.asset} is not listed"
        if name != rule.asset and engine.rules.definition(name) is not None:
            yield f"lending pools {name}: {name} is listed, and its asset is {rule.asset}"
    concerned = _pools_under_way(engine)
    for name, state in sorted(engine.markets.lending.items()):
        parts = (state.cash, state.supplied, state.borrowed, state.reserve)
        asset = engine.rules.pool(name).asset
        if name in new and new[name].asset != asset:
            yield f"lending pools {name}: asset {new[name].asset}, and it was {asset}"
        elif name not in new and any((*parts, state.deficit, state.auctioned)):
            yield f"lending pools {name}: missing, and it holds {asset}"
        elif name not in new and name in concerned:
            yield f"lending pools {name}: missing, and a liquidation or a lost debt names it"


def _pools_under_way(engine: Engine) -> set[str]:
    """Return the pools that live seizures and auctions name, and those whose debts were given
    up and may still be recovered."""
    found: set[str] = set()
    for group in engine.book.all_groups():
        found.update(group.given_up)
        if group.liquidation is None:
            continue
        for auction in group.liquidation.auctions.values():
            found.update((auction.pool, auction.collateral))
        for order in group.liquidation.orders.values():
            if order.is_seizure:
                found.update((order.symbol, order.collateral))
    return found


CHECKS: dict[type[e.Event], Callable[[Engine, Any], Checks]] = {
    e.PriceUpdate: _price,
    e.OptionMark: _option_mark,
    e.MarketState: _market_state,
    e.PoolState: _pool_state,
    e.Deposit: _external,
    e.Withdrawal: _external,
    e.AccountClosed: _account_closed,
    e.MarginMoved: _margin_moved,
    e.PositionSnapshot: _snapshot,
    e.Fill: _fill,
    e.OpenOrders: _open_orders,
    e.OrdersCancelled: _orders_cancelled,
    e.OrderClosed: _order_closed,
    e.FundingPaid: _funding_paid,
    e.CollateralSold: _collateral_sold,
    e.FundingRate: _funding_rate,
    e.Settled: _settled,
    e.FundMoved: _fund_moved,
    e.Recovered: bad_debt.checks,
    e.WrittenOff: bad_debt.checks,
    e.Halt: _halt,
    e.Resume: _halt,
    e.InstrumentListed: _instrument_listed,
    e.ProfileChanged: _profile_changed,
    **loan_admission.CHECKS,
}
