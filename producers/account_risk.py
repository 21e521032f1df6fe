"""How near an account is to liquidation, for front ends: one record an account, in exact numbers.

A picture for people, and no decision: it is written when a group changes its band or its state, not
with every price. Bands lie between bounds of the margin ratio (margin equity ÷ maintenance).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine import wire
from engine.book import Account, Group
from engine.core import Engine
from engine.events import SCHEMA_VERSION
from engine.liquidation_price import liquidation_prices
from engine.margin import Health, breached
from engine.money import exact, floor_to, plain
from engine.ratio_screen import RatioScreen
from engine.watch import STANDINGS

RATIO_STEP = Decimal("0.0001")
NOTHING, UNPRICED, LOWEST = 0, 1, 2
"""Places of what is no band: nothing to liquidate, a price missing; the bands follow."""

PLACES = len(STANDINGS) + 1
HEALTHY = STANDINGS.index("healthy") + 1

Codes = NDArray[np.int64]
Told = dict[str, int]
"""What is told of an account: the code (band and state) of each margin group."""


class LiquidationRange(msgspec.Struct, frozen=True):
    """The marks below and above which the group is liquidated; null where there is no such
    price."""

    below: Decimal | None
    above: Decimal | None


class GroupRisk(msgspec.Struct, frozen=True):
    """One margin group, amounts in the numeraire.

    `state` is what the group is counted as, `ratio` margin equity ÷ maintenance, rounded down; null
    where nothing is required, and all four while a price is missing. `liquidation_prices` are by
    symbol, all else as it is; of groups that are being liquidated, and of legs margined as a
    portfolio, there are none.
    """

    margin: str
    state: str
    band: str
    ratio: Decimal | None
    equity: Decimal | None
    margin_equity: Decimal | None
    maintenance: Decimal | None
    liquidation_prices: dict[str, LiquidationRange]


class AccountRisk(msgspec.Struct, frozen=True):
    """An account when one of its margin groups changed its band or its state; `time` is engine
    time, microseconds UTC. `band` is the lowest of its groups'; groups with nothing to liquidate
    are left out."""

    account: str
    shard: int
    time: int
    role: str
    numeraire: str
    band: str
    groups: tuple[GroupRisk, ...]
    version: int = SCHEMA_VERSION


class Bands:
    """Bands of the margin ratio between rising bounds, and codes of a band with a state."""

    def __init__(self, bounds: Sequence[Decimal]) -> None:
        self.bounds = tuple(bounds)
        self._floats = np.array([float(bound) for bound in bounds])
        said = [plain(bound) for bound in bounds]
        between = [f"{low}_to_{high}" for low, high in pairwise(said)]
        self.names = ("none", "unpriced", f"below_{said[0]}", *between, f"above_{said[-1]}")

    def of(self, state: Health | None) -> int:
        """Return the place of a group's band; to be called in the exact context."""
        if state is None:
            return UNPRICED
        if state.maintenance <= 0:
            return LOWEST if state.margin_equity < 0 else NOTHING
        # A product for each bound: the ratio has no last digit.
        products = [bound * state.maintenance for bound in self.bounds]
        return LOWEST + bisect_right(products, state.margin_equity)

    def code(self, band: int, standing: int) -> int:
        """Return one number for a band and a standing, 0 for nothing to tell: a healthy group with
        nothing to liquidate, or one that was not looked at yet."""
        nothing = standing == 0 or (band == NOTHING and standing == HEALTHY)
        return 0 if nothing else band * PLACES + standing

    def screened(self, screen: RatioScreen, rows: slice) -> tuple[Codes, Codes]:
        """Return the place of the band of rows of a screen, and their codes: -1 where that is not
        certain."""
        ratio, least, most = screen.ratios(rows)
        places = [np.searchsorted(self._floats, one, side="right") for one in (ratio, least, most)]
        bands = LOWEST + places[0]
        bands[np.isposinf(ratio)] = NOTHING
        bands[np.isnan(ratio)] = UNPRICED
        standing = screen.standing[rows].astype(np.int64)
        nothing = (standing == 0) | ((bands == NOTHING) & (standing == HEALTHY))
        codes = np.where(nothing, 0, bands * PLACES + standing)
        return bands, np.where(places[1] == places[2], codes, -1)

    def lowest(self, told: Told) -> str:
        """Return the lowest of the bands that are told; none or unpriced where there is none."""
        places = [code // PLACES for code in told.values()]
        lowest = min((place for place in places if place >= LOWEST), default=None)
        return self.names[max(places, default=NOTHING) if lowest is None else lowest]

    def read(self, raw: bytes) -> Told:
        """Return what a record tells, with a code of no group where it knows other bands."""
        record = _decoder.decode(raw)
        return {group.margin: self._code(group) for group in record.groups}

    def _code(self, group: _ToldGroup) -> int:
        if group.band not in self.names or group.state not in STANDINGS:
            return -1
        return self.code(self.names.index(group.band), STANDINGS.index(group.state) + 1)


class _ToldGroup(msgspec.Struct):
    margin: str
    state: str
    band: str


class _ToldRecord(msgspec.Struct):
    groups: list[_ToldGroup]


_decoder = msgspec.json.Decoder(_ToldRecord)


@exact
def told_of(engine: Engine, account: Account, bands: Bands) -> Told:
    """Return what is to be told of an account now, by margin group."""
    found = {}
    for group in account.ordered_groups():
        standing = engine.watch.standing_at(group.row)
        if code := bands.code(bands.of(engine.health_of(group)), standing):
            found[group.margin] = code
    return found


def drawn(
    engine: Engine, account: Account, bands: Bands
) -> Generator[None, None, tuple[bytes, Told]]:
    """Return the record of an account and what it tells, one liquidation price at a step.

    All but these is of the moment of the last step; nothing is told of an account that ends
    meanwhile.
    """
    prices: dict[tuple[str, str], LiquidationRange] = {}
    for group in account.ordered_groups():
        for symbol in tuple(group.symbols):
            found = _range(engine, group, symbol)
            if found is not None:
                prices[group.margin, symbol] = found
            yield
    if engine.accounts.get(account.id) is not account:
        return b"", {}
    return _record(engine, account, bands, prices)


@exact
def _record(
    engine: Engine,
    account: Account,
    bands: Bands,
    prices: Mapping[tuple[str, str], LiquidationRange],
) -> tuple[bytes, Told]:
    told: Told = {}
    groups = []
    for group in account.ordered_groups():
        state = engine.health_of(group)
        standing = engine.watch.standing_at(group.row)
        if code := bands.code(bands.of(state), standing):
            told[group.margin] = code
            mine = {at: found for (of, at), found in prices.items() if of == group.margin}
            groups.append(_group_risk(group, state, bands, standing, mine))
    record = AccountRisk(
        account.id,
        engine.shard,
        engine.time,
        account.role,
        engine.rules.in_force.numeraire,
        bands.lowest(told),
        tuple(groups),
    )
    return wire.write(record), told


def _group_risk(
    group: Group,
    state: Health | None,
    bands: Bands,
    standing: int,
    prices: Mapping[str, LiquidationRange],
) -> GroupRisk:
    said, band = STANDINGS[standing - 1], bands.names[bands.of(state)]
    if state is None:
        return GroupRisk(group.margin, said, band, None, None, None, None, {})
    ratio = None
    if state.maintenance > 0:
        ratio = floor_to(state.margin_equity, RATIO_STEP, state.maintenance)
    held = {symbol: found for symbol, found in prices.items() if symbol in group.symbols}
    return GroupRisk(
        group.margin, said, band, ratio, state.equity, state.margin_equity, state.maintenance,
        {} if group.liquidation is not None else held,
    )  # fmt: skip


@exact
def _range(engine: Engine, group: Group, symbol: str) -> LiquidationRange | None:
    """Return the liquidation prices of a leg, none where they are not told: a search in a
    portfolio, or out of a breach, takes too long."""
    rules = engine.rules
    if group.liquidation is not None or rules.portfolio_of(symbol) is not None:
        return None
    state = engine.health_of(group)
    if symbol not in group.symbols or state is None or breached(state, rules):
        return None
    found = liquidation_prices(symbol, group.holdings, rules, engine.markets)
    return LiquidationRange(found.below, found.above)
