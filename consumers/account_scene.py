"""What an engine is told of one account: its profile, instruments, prices, pools and positions.

Others lend to a pool and borrow of it what the file says of the pool beyond the account's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

import msgspec

from consumers import account_loans
from consumers.account_file import NUMERAIRE, AccountFile, HeldGroup, HeldLeg, Reading
from consumers.account_instruments import Listing
from consumers.account_loans import Told
from engine import events as e
from engine.margin import fill_cost
from engine.money import unit_of
from engine.profile import RiskProfile


class Scene(NamedTuple):
    """An account under a profile, with everything it is to be told."""

    file: AccountFile
    profile: RiskProfile
    listing: Listing
    time: int

    def asset(self, name: str) -> str:
        """Return the asset that a balance of the file is in."""
        return self.profile.numeraire if name == NUMERAIRE else name


def missing(scene: Scene, reading: Reading) -> Iterator[str]:
    """Yield every price that the account cannot do without, but for those that cannot be read."""
    file, found, profile = scene.file, scene.listing, scene.profile
    held = [symbol for symbol in file.symbols() if symbol in found.derivatives]
    timeless = scene.time == 0 and not reading.lost("time")
    if timeless and any(map(found.is_option, held)):
        yield "time: missing; what an option is worth depends on it"
    for symbol in filter(None, held):
        table = "options" if found.is_option(symbol) else "marks"
        if symbol not in getattr(file, table) and not reading.lost(table, symbol):
            yield f"{table}.{symbol}: missing; it is held or ordered"
    needed = {found.derivatives[symbol].settle for symbol in held}
    for _, group in file.located_groups():
        for name, amount in group.balances.items():
            if amount < 0 or scene.asset(name) in profile.collateral:
                needed.add(scene.asset(name))
    needed |= account_loans.needed(file, profile)
    for asset in sorted(needed - {profile.numeraire} - file.prices.keys()):
        if not reading.lost("prices", asset):
            yield f"prices.{asset}: missing; it counts, in {profile.numeraire}"


def events(scene: Scene) -> Iterator[Told]:
    """Yield everything that an engine is to be told, in order."""
    file, found, time = scene.file, scene.listing, scene.time
    # Pools need their assets listed, and derivatives a rule of margin in force.
    for asset in found.assets.values():
        yield Told(asset.name, e.InstrumentListed(time=time, instrument=asset))
    yield Told("profile", e.ProfileChanged(time=time, profile=scene.profile))
    for listed in found.derivatives.values():
        yield Told(listed.name, e.InstrumentListed(time=time, instrument=listed))
    yield from _market_events(scene)
    sequence = 0
    for told in _account_events(scene):
        # One account's events are numbered one by one, whatever they are.
        event = told.event
        if isinstance(event, e.AccountEvent) and event.account == file.account:
            sequence += 1
            event = msgspec.structs.replace(event, sequence=sequence)
        yield Told(told.key, event)


def _account_events(scene: Scene) -> Iterator[Told]:
    """Yield what the account did, and others in its pools; its own events are not numbered yet."""
    file, time, lending = scene.file, scene.time, scene.profile.lending
    # Nothing is decided about an exempt account: it can be looked at as it is told.
    opened = e.AccountOpened(time=time, account=file.account, sequence=0, role="exempt")
    yield Told("account", opened)
    if lending is not None:
        yield from account_loans.events(file, lending, time)
    for path, group in file.located_groups():
        for place, own in enumerate(group.open_orders, start=1):
            orders = e.OpenOrders(
                time=time,
                account=file.account,
                sequence=0,
                symbol=own.symbol,
                margin=group.margin,
                buy_size=own.buy,
                sell_size=own.sell,
            )
            yield Told(f"{path}open_orders[{place}]", orders)
    snapshot = e.PositionSnapshot(
        time=time,
        account=file.account,
        sequence=0,
        groups=tuple(_group(scene, group) for _, group in file.located_groups()),
    )
    yield Told("groups", snapshot)


def _market_events(scene: Scene) -> Iterator[Told]:
    file, found, time = scene.file, scene.listing, scene.time
    for asset, price in file.prices.items():
        if asset in found.assets and asset != scene.profile.numeraire:
            yield Told(f"prices.{asset}", _price(scene, asset, "index", price))
    for symbol, price in file.marks.items():
        if symbol in found.derivatives:
            yield Told(f"marks.{symbol}", _price(scene, symbol, "mark", price))
    for symbol, told in file.options.items():
        if symbol in found.derivatives:
            mark = e.OptionMark(
                time=time,
                symbol=symbol,
                iv=told.iv,
                forward=told.forward,
                discount=told.discount,
                source=scene.profile.source_of(symbol, "mark"),
                sequence=1,
            )
            yield Told(f"options.{symbol}", mark)
    for symbol, interest in file.open_interest.items():
        if symbol in found.derivatives:
            told_of = e.MarketState(
                time=time, symbol=symbol, long_size=interest.long, short_size=interest.short
            )
            yield Told(f"open_interest.{symbol}", told_of)
    for asset, pool in file.pools.items():
        lends = scene.profile.lending is not None and asset in scene.profile.lending.pools
        if asset in found.assets and not lends:
            state = e.PoolState(
                time=time, pool=asset, supplied=pool.supplied, borrowed=pool.borrowed
            )
            yield Told(f"pools.{asset}", state)


def _price(scene: Scene, symbol: str, kind: e.PriceKind, price: Decimal) -> e.PriceUpdate:
    return e.PriceUpdate(
        time=scene.time,
        symbol=symbol,
        kind=kind,
        price=price,
        source=scene.profile.source_of(symbol, kind),
        sequence=1,
    )


def _group(scene: Scene, group: HeldGroup) -> e.GroupSnapshot:
    balances = {scene.asset(name): amount for name, amount in group.balances.items() if amount}
    legs = tuple(
        e.LegSnapshot(leg.symbol, leg.size, _cost(scene, leg))
        for leg in sorted(group.legs, key=lambda leg: leg.symbol)
    )
    supplied, owed = account_loans.amounts(group)
    return e.GroupSnapshot(
        margin=group.margin, balances=balances, legs=legs, supplied=supplied, owed=owed
    )


def _cost(scene: Scene, leg: HeldLeg) -> Decimal:
    """Return what a leg cost: as given, or what its size is worth at the price of entry."""
    if leg.cost is not None or leg.entry_price is None:
        return leg.cost or Decimal(0)
    listed = scene.listing.derivatives[leg.symbol]
    unit = unit_of(scene.listing.assets[listed.settle].decimals)
    return fill_cost(listed, leg.size, leg.entry_price, unit)
