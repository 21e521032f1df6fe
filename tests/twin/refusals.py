"""Why an event is refused; the words are for a reader, only the refusal itself is compared."""

from __future__ import annotations

import re
from fractions import Fraction

from engine import events
from engine.instruments import Asset, Option
from tests.twin.books import Account, Group, World
from tests.twin.facts import funding, holders, settlement
from tests.twin.faults import faulty
from tests.twin.funds import held, outstanding
from tests.twin.limits import (
    require,
    require_amount,
    require_cash,
    require_contract,
    require_issued,
    require_leg,
    require_margin,
    require_not_negative,
    require_positive,
    require_price,
    require_size,
)
from tests.twin.loan_refusals import (
    check_loan_fact,
    check_loans_told,
    check_names,
    check_pool_event,
    check_pools_kept,
    is_empty,
)
from tests.twin.pools import pool_names, rule_of
from tests.twin.terms import ContractTerms, Policy
from tests.twin.trades import outcome_of

BEGINNINGS = (events.AccountOpened, events.Deposit, events.PositionSnapshot)


def check_known(world: World, event: events.AnyEvent) -> None:
    """Refuse what cannot even be numbered."""
    if isinstance(event, events.PriceEvent | events.AccountEvent):
        require(world.policy is not None, "profile")
    if isinstance(event, events.AccountEvent):
        require(bool(re.fullmatch(r"[A-Za-z0-9._-]{1,64}", event.account)), "account id")
        require(event.account in world.accounts or isinstance(event, BEGINNINGS), "account")
    elif isinstance(event, events.PriceEvent):
        require(event.symbol in world.listed, "symbol")
    elif isinstance(event, events.FundingRate | events.Settled | events.MarketState):
        require(event.symbol in world.contracts, "symbol")
    elif isinstance(event, events.Halt | events.Resume):
        require(event.symbol in ("", *world.contracts, *pool_names(world)), "symbol")
    elif isinstance(event, events.InterestAccrued):
        require(event.pool in pool_names(world), "pool")


def check(world: World, event: events.AnyEvent) -> None:
    """Refuse what breaks a rule."""
    if isinstance(event, events.AccountEvent):
        _check_account_event(world, event)
    else:
        _check_venue_event(world, event)


# --- accounts


def _check_account_event(world: World, event: events.AccountEvent) -> None:
    account = world.accounts.get(event.account) or Account(event.account, event.sequence)
    cross = account.groups.get("cross")
    match event:
        case events.AccountClosed():
            for group in account.groups.values():
                require(not any(group.cash.values()) and not group.legs, "not empty")
                require(group.liquidation is None, "in liquidation")
                require(is_empty(world, group), "loans")
                against = world.transfers_to(group.account, group.margin)
                require(not against, "a transfer against it")
        case events.Deposit() | events.Withdrawal():
            require_amount(world, event.asset, event.amount)
            require_positive(event.amount)
            sign = 1 if isinstance(event, events.Deposit) else -1
            require_cash(world, cross, event.asset, sign * Fraction(event.amount))
        case events.MarginMoved():
            _check_move(world, account, event)
        case events.PositionSnapshot():
            _check_snapshot(world, event)
        case events.Fill():
            _check_fill(world, account, event)
        case events.OpenOrders():
            require_contract(world, event.symbol, open_=False)
            require_margin(event.margin, [event.symbol])
            for size in (event.buy_size, event.sell_size):
                require_size(world, event.symbol, size)
                require_not_negative(size)
        case events.OrdersCancelled():
            require_margin(event.margin, [*world.contracts, *pool_names(world)])
        case events.OrderClosed():
            _check_close(world, account, event)
        case events.FundingPaid():
            _check_funding(world, account, event)
        case events.CollateralSold():
            _check_sale(world, account, event)
        case _:
            check_loan_fact(world, account, event)


def _check_move(world: World, account: Account, event: events.MarginMoved) -> None:
    require_contract(world, event.symbol, open_=False)
    settle = world.contracts[event.symbol].settle
    require_amount(world, settle, event.amount)
    require(event.amount != 0, "nothing moves")
    amount = Fraction(event.amount)
    require_cash(world, account.groups.get("cross"), settle, -amount)
    require_cash(world, account.groups.get(f"isolated:{event.symbol}"), settle, amount)


def _check_snapshot(world: World, event: events.PositionSnapshot) -> None:
    margins = [group.margin for group in event.groups]
    require(len(set(margins)) == len(margins), "a group twice")
    for group in event.groups:
        require_margin(group.margin, [*world.contracts, *pool_names(world)])
        check_loans_told(world, group)
        for asset, amount in group.balances.items():
            require_amount(world, asset, amount)
            require(abs(Fraction(amount)) <= world.assets[asset].largest, f"cash {asset}")
        symbols = [leg.symbol for leg in group.legs]
        require(len(set(symbols)) == len(symbols), "a leg twice")
        for leg in group.legs:
            require_contract(world, leg.symbol)
            require(group.margin in ("cross", f"isolated:{leg.symbol}"), "another's leg")
            require_size(world, leg.symbol, leg.size)
            require(leg.size != 0, "a leg without size")
            require_amount(world, world.contracts[leg.symbol].settle, leg.cost)
            require_leg(world, leg.symbol, Fraction(leg.size), Fraction(leg.cost))


def _check_fill(world: World, account: Account, event: events.Fill) -> None:
    require_contract(world, event.symbol)
    require_margin(event.margin, [event.symbol])
    require_size(world, event.symbol, event.size)
    require(event.size != 0, "nothing was traded")
    require_price(world, event.symbol, event.price)
    require_amount(world, event.fee_asset, event.fee)
    require_issued(account, event.order_id, event.margin, event.symbol)
    group = account.groups.get(event.margin) or Group(event.account, event.margin)
    result = outcome_of(world, group, event)
    before = group.legs.get(event.symbol)
    held = (before.size, before.cost) if before else (Fraction(0), Fraction(0))
    require_leg(world, event.symbol, result.leg.size, result.leg.cost, held)
    changes = {world.contracts[event.symbol].settle: result.cash}
    changes[event.fee_asset] = changes.get(event.fee_asset, Fraction(0)) - Fraction(event.fee)
    for asset, change in changes.items():
        require_cash(world, group, asset, change)


def _check_close(world: World, account: Account, event: events.OrderClosed) -> None:
    issued = account.issued_as(event.order_id)
    require(issued is not None, f"order {event.order_id}")
    require_not_negative(event.filled_size)
    symbol = issued[1] if issued else ""
    if symbol in world.contracts:
        require_size(world, symbol, event.filled_size)
    elif symbol in pool_names(world):
        require_amount(world, rule_of(world, symbol).asset, event.filled_size)
    elif symbol in world.assets:
        require_amount(world, symbol, event.filled_size)


def _check_funding(world: World, account: Account, event: events.FundingPaid) -> None:
    require_contract(world, event.symbol)
    require_margin(event.margin, [event.symbol])
    terms = world.contracts[event.symbol]
    require(terms.funding == "venue", "funding is not the venue's")
    require_amount(world, terms.settle, event.amount)
    require_cash(world, account.groups.get(event.margin), terms.settle, Fraction(event.amount))


def _check_sale(world: World, account: Account, event: events.CollateralSold) -> None:
    require_margin(event.margin, [*world.contracts, *pool_names(world)])
    require_amount(world, event.asset, event.amount)
    require_amount(world, event.for_asset, event.proceeds)
    require_positive(event.amount)
    require_not_negative(event.proceeds)
    require(event.asset != event.for_asset, "sold for itself")
    require_issued(account, event.order_id, event.margin, event.asset)
    group = account.groups.get(event.margin)
    require_cash(world, group, event.asset, -Fraction(event.amount))
    require_cash(world, group, event.for_asset, Fraction(event.proceeds))


# --- prices and control


def _check_venue_event(world: World, event: events.AnyEvent) -> None:
    match event:
        case events.PriceUpdate():
            require_price(world, event.symbol, event.price)
            if event.symbol in world.assets:
                require(event.kind == "index", "an asset has an index price only")
                require(event.symbol != world.rules.source.numeraire, "the numeraire is 1")
            elif event.kind == "mark":
                require(world.contracts[event.symbol].option is None, "an option is marked")
        case events.OptionMark():
            terms = world.contracts.get(event.symbol)
            require(terms is not None and terms.option is not None, "no option")
            require_not_negative(event.iv)
            require_positive(event.forward)
            require(0 < event.discount <= 2, f"discount {event.discount}")
        case events.InstrumentListed():
            _check_listing(world, event)
        case events.ProfileChanged():
            _check_profile(world, event)
        case events.FundMoved() if event.shard == world.shard and event.pool:
            require(not event.fund, "a pool and a fund")
            check_pool_event(world, event)
        case events.InterestAccrued():
            check_pool_event(world, event)
        case events.FundMoved() if event.shard == world.shard:
            require_amount(world, event.asset, event.amount)
            after = held(world, event.fund, event.asset) + Fraction(event.amount)
            require(after >= 0, "more than the fund has")
        case events.Recovered() | events.WrittenOff() if event.shard == world.shard:
            require_amount(world, event.asset, event.amount)
            require_positive(event.amount)
            unpaid = outstanding(world, event.asset, event.market)
            require(event.amount <= unpaid, f"{unpaid} is outstanding")
        case events.FundingRate():
            _check_rate(world, event)
        case events.MarketState():
            for size in (event.long_size, event.short_size):
                require_size(world, event.symbol, size)
                require_not_negative(size)
        case events.PoolState():
            for amount in (event.supplied, event.borrowed):
                require_amount(world, event.pool, amount)
                require_not_negative(amount)
        case events.Settled():
            require_contract(world, event.symbol)
            require_price(world, event.symbol, event.price)
            settle = world.contracts[event.symbol].settle
            for group, leg in holders(world, event.symbol):
                require_cash(world, group, settle, settlement(world, event, leg))


def _check_listing(world: World, event: events.InstrumentListed) -> None:
    new, old = event.instrument, world.listed.get(event.instrument.name)
    check_names(world, new.name)
    if old is not None:
        require(type(new) is type(old), "another type")
        fixed = ["decimals", "price_decimals"]
        if not isinstance(new, Asset):
            fixed = ["settle", "style", "multiplier", "size_decimals", "price_decimals"]
        if isinstance(new, Option):
            fixed += ["kind", "strike", "expiry"]
        for field in fixed:
            require(getattr(new, field) == getattr(old, field), f"another {field}")
    if not isinstance(new, Asset):
        require(new.settle in world.assets, "no settlement asset")
        terms = ContractTerms.of(new)
        ruled = world.policy is not None and world.policy.rule_of(new.name, terms) is not None
        require(ruled, "no rule of margin")


def _check_profile(world: World, event: events.ProfileChanged) -> None:
    profile = event.profile
    require(not faulty(profile), "faults")
    check_pools_kept(world, event)
    for symbol, terms in world.contracts.items():
        require(Policy(profile).rule_of(symbol, terms) is not None, f"no rule of margin: {symbol}")
    if world.policy is not None and world.accounts:
        require(profile.numeraire == world.policy.source.numeraire, "another numeraire")


def _check_rate(world: World, event: events.FundingRate) -> None:
    require_contract(world, event.symbol)
    terms = world.contracts[event.symbol]
    require(terms.funding == "engine", "funding is not the engine's")
    require(event.rate.is_finite(), "no rate")
    known = {(event.symbol, "index"), (event.symbol, "mark")} & set(world.prices)
    require(bool(known), "no price")
    for group, leg in holders(world, event.symbol):
        require_cash(world, group, terms.settle, funding(world, event, leg))
