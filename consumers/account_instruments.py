"""The instruments of an account file: as it defines them, as a rules file does, or derived."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from consumers.account_file import NUMERAIRE, AccountFile, moment_of
from consumers.rules import Rules
from consumers.toml_file import form_faults
from engine import instruments
from engine.instruments import Asset, Future, Listed, Option, Perpetual
from engine.money import LARGEST_UNITS, from_units
from engine.profile import RiskProfile

KINDS = {"asset": Asset, "perpetual": Perpetual, "future": Future, "option": Option}

DECIMALS = 8
"""What sizes and balances are kept to where nothing finer is given, and there is room."""

PRICE_DIGITS = 6
"""Digits of a price's resolution, counted from its first one, where nothing finer is given."""

COIN_DECIMALS = 4
"""What an option's price in coin is kept to where nothing finer is given."""

QUOTE_DECIMALS = 2
"""The least that an option's price in its quote currency is kept to where nothing is given."""

DECIMALS_MAX = 18
QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "USD")


class Listing(NamedTuple):
    """What is listed for an account, by name, and every fault of how it is defined."""

    assets: dict[str, Asset]
    derivatives: dict[str, Listed]
    faults: list[str]

    def is_option(self, symbol: str) -> bool:
        """Tell whether a symbol is an option."""
        return isinstance(self.derivatives.get(symbol), Option)


def listing(
    file: AccountFile, profile: RiskProfile, known: Rules | None, moved: Mapping[str, Decimal]
) -> Listing:
    """Return the instruments that an account holds, orders or is owed in.

    `known` are those of a rules file, `moved` prices that are to be told besides those of the file.
    """
    found, precision = Listing({}, {}, []), _Precision(file, profile, moved)
    if known is not None:
        found.assets.update({asset.name: asset for asset in known.assets})
        held = set(file.symbols())
        found.derivatives.update(
            {listed.name: listed for listed in known.derivatives if listed.name in held}
        )
    for place, table in enumerate(file.instruments, start=1):
        _define(place, table, found, precision)
    for symbol in file.symbols():
        if symbol not in found.derivatives and not _defined(symbol, file):
            found.derivatives[symbol] = msgspec.convert(precision.derivative(symbol, {}), Perpetual)
    needed = {profile.numeraire, *(listed.settle for listed in found.derivatives.values())}
    for _, group in file.located_groups():
        needed |= {profile.numeraire if name == NUMERAIRE else name for name in group.balances}
    if profile.lending is not None:
        needed |= {rule.asset for rule in profile.lending.pools.values()}
    for name in sorted(needed - found.assets.keys()):
        found.assets[name] = msgspec.convert(precision.asset(name, {}), Asset)
    found.faults.extend(
        f"{name}: a symbol and an asset; name the instrument apart"
        for name in sorted(found.assets.keys() & found.derivatives.keys())
    )
    found.faults.extend(_twice(file, profile))
    return found


def underlying_of(symbol: str, numeraire: str) -> str:
    """Return the underlying that a symbol's name tells of: what stands before a separator, without
    the name of the quote currency."""
    for separator in "-_.":
        symbol = symbol.split(separator, 1)[0]
    for quote in (numeraire, *QUOTES):
        if symbol.endswith(quote) and symbol != quote:
            return symbol.removesuffix(quote)
    return symbol


def _twice(file: AccountFile, profile: RiskProfile) -> Iterator[str]:
    for path, group in file.located_groups():
        if NUMERAIRE in group.balances and profile.numeraire in group.balances:
            yield f"{path}balances: {NUMERAIRE} and {profile.numeraire} are the same here"


def _defined(symbol: str, file: AccountFile) -> bool:
    return any(table.get("name") == symbol for table in file.instruments)


def _define(place: int, table: Mapping[str, Any], found: Listing, precision: _Precision) -> None:
    """Add what a table of `instruments` defines, or its faults; what it does not say is derived."""
    name = table.get("name")
    path = f"instruments[{name if isinstance(name, str) else place}]"
    kind = table.get("type", "perpetual")
    if not isinstance(name, str) or not isinstance(kind, str) or kind not in KINDS:
        found.faults.append(f"{path}: needs a name, and a type of {', '.join(KINDS)}")
        return
    given = {key: value for key, value in table.items() if key != "type"}
    whole = precision.asset(name, given) if kind == "asset" else precision.derivative(name, given)
    whole |= given
    if isinstance(whole.get("expiry"), str):
        try:
            whole["expiry"] = moment_of(whole["expiry"])
        except ValueError:
            found.faults.append(f"{path}.expiry: neither microseconds nor ISO 8601")
            return
    if faults := list(form_faults(whole, KINDS[kind], path)):
        found.faults.extend(faults)
        return
    made: Any = msgspec.convert(whole, KINDS[kind])
    found.faults.extend(f"{path}: {fault}" for fault in instruments.faults(made))
    of_kind: dict[str, Any] = found.assets if kind == "asset" else found.derivatives
    of_kind[name] = made


class _Precision(NamedTuple):
    """What instruments that are not defined, or not wholly, are kept to: fine, with room."""

    file: AccountFile
    profile: RiskProfile
    moved: Mapping[str, Decimal]

    def asset(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the definition of an asset that has room for what is held of it."""
        decimals = _whole(given, "decimals", _decimals(list(self._amounts(name))))
        prices = [*self._prices(self.file.prices, name), Decimal("1e-8")]
        return {
            "name": name,
            "decimals": decimals,
            "largest": from_units(LARGEST_UNITS, decimals),
            "price_decimals": _finest(prices),
        }

    def derivative(self, symbol: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the definition of a linear perpetual that settles in the numeraire.

        What is `given` of it decides the rest: a lot and a tick have decimals, and the other way.
        """
        sizes = [*self._sizes(symbol), *_number(given, "lot")]
        decimals = _whole(given, "size_decimals", _decimals(sizes))
        marked = self._option_decimals if "strike" in given else self._mark_decimals
        finest = max(marked(symbol, given), _finest(_number(given, "tick")))
        price_decimals = _whole(given, "price_decimals", min(finest, DECIMALS_MAX))
        return {
            "name": symbol,
            "settle": self.profile.numeraire,
            "size_decimals": decimals,
            "lot": Decimal(1).scaleb(-decimals),
            "largest_size": from_units(LARGEST_UNITS, decimals),
            "price_decimals": price_decimals,
            "tick": Decimal(1).scaleb(-price_decimals),
            "underlying": underlying_of(symbol, self.profile.numeraire),
        }

    def _mark_decimals(self, symbol: str, given: Mapping[str, Any]) -> int:
        prices = list(self._prices(self.file.marks, symbol))
        return max([_finest(prices), *map(_digits, prices)])

    def _option_decimals(self, symbol: str, given: Mapping[str, Any]) -> int:
        """Return the decimals of a mark that is computed: as fine as the forward's six digits."""
        if given.get("style") == "inverse":
            return COIN_DECIMALS
        told = self.file.options.get(symbol)
        forwards = [told.forward] if told else list(_number(given, "strike"))
        return max([QUOTE_DECIMALS, *map(_digits, [*forwards, *self.moved.values()])])

    def _sizes(self, symbol: str) -> Iterator[Decimal]:
        for _, group in self.file.located_groups():
            yield from (leg.size for leg in group.legs if leg.symbol == symbol)
            for own in group.open_orders:
                if own.symbol == symbol:
                    yield from (own.buy, own.sell)
        if told := self.file.open_interest.get(symbol):
            yield from (told.long, told.short)

    def _amounts(self, asset: str) -> Iterator[Decimal]:
        for _, group in self.file.located_groups():
            for name, amount in group.balances.items():
                if asset in (name, self.profile.numeraire if name == NUMERAIRE else name):
                    yield amount
            for name, loan in group.loans.items():
                if asset == self._asset_of(name):
                    yield from (loan.supplied, loan.owed)
            for leg in group.legs:
                if leg.cost is not None:
                    yield leg.cost
                elif leg.entry_price is not None:
                    # Rounded to the unit in any case: only its size asks for room.
                    yield Decimal(int(leg.size * leg.entry_price))
        for name, pool in self.file.pools.items():
            if asset == self._asset_of(name):
                yield from (pool.supplied, pool.borrowed, pool.cash or Decimal(0))

    def _asset_of(self, pool: str) -> str | None:
        """Return the asset of a pool that lends under the profile, none for any other."""
        lending = self.profile.lending
        known = None if lending is None else lending.pools.get(pool)
        return None if known is None else known.asset

    def _prices(self, table: Mapping[str, Decimal], name: str) -> Iterator[Decimal]:
        if name in table:
            yield table[name]
        yield from self.moved.values()


def _number(given: Mapping[str, Any], key: str) -> Iterator[Decimal]:
    """Yield the number under a key, if there is one that can be read."""
    if key in given and not any(form_faults(given[key], Decimal)):
        yield msgspec.convert(given[key], Decimal)


def _whole(given: Mapping[str, Any], key: str, otherwise: int) -> int:
    """Return the decimals under a key, if there are any that an instrument can have."""
    value = given.get(key)
    return value if isinstance(value, int) and 0 <= value <= DECIMALS_MAX else otherwise


def _decimals(amounts: Iterable[Decimal]) -> int:
    """Return to how many decimals amounts are kept: all that they have, else as many as leave room
    for a thousand times the largest."""
    largest = max((abs(amount) for amount in amounts), default=Decimal(0))
    room = 14 - largest.adjusted() if largest else DECIMALS
    return max(_finest(amounts), min(DECIMALS, max(room, 0)))


def _finest(numbers: Iterable[Decimal]) -> int:
    """Return the most decimals that any of the numbers has."""
    exponents = [int(number.normalize().as_tuple().exponent) for number in numbers]
    return max([0, *(-exponent for exponent in exponents)])


def _digits(price: Decimal) -> int:
    """Return the decimals at which a price has six digits."""
    return max(0, PRICE_DIGITS - 1 - price.adjusted())
