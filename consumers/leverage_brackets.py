"""Leverage brackets as exchanges publish them, read into requirement tables of a profile.

Three forms: Binance's own (GET /fapi/v1/leverageBracket), that of ccxt's `fetch_leverage_tiers`,
and a compact table of tiers by contract (floor, cap, mmr, max_leverage, cum). All carry a
cumulative amount `cum`, which follows from floors and rates:
cum(k) = cum(k−1) + floor(k)·(rate(k) − rate(k−1)). A row that breaks this is named, not imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Literal, NamedTuple

import msgspec

from consumers.toml_file import FileFaults
from engine import profile_faults
from engine.money import ZERO, exact, plain
from engine.profile import Bracket, Collateral, Requirement, RiskProfile
from engine.wire import DIGITS_MAX, WHOLE_MAX

Form = Literal["binance", "ccxt", "tiers"]

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Row(NamedTuple):
    """One bracket as published: notional from `floor` to `cap`, `cum` where the form has it."""

    floor: Decimal
    cap: Decimal
    rate: Decimal
    max_leverage: Decimal
    cum: Decimal | None


class _BinanceRow(msgspec.Struct, rename="camel"):
    initial_leverage: Decimal
    notional_cap: Decimal
    notional_floor: Decimal
    maint_margin_ratio: Decimal
    cum: Decimal | None = None

    def row(self) -> Row:
        return Row(
            self.notional_floor,
            self.notional_cap,
            self.maint_margin_ratio,
            self.initial_leverage,
            self.cum,
        )


class _BinanceTable(msgspec.Struct):
    symbol: str
    brackets: msgspec.Raw = msgspec.Raw(b"[]")


class _Info(msgspec.Struct):
    cum: Decimal | None = None


class _CcxtRow(msgspec.Struct, rename="camel"):
    min_notional: Decimal
    max_notional: Decimal
    maintenance_margin_rate: Decimal
    max_leverage: Decimal
    info: _Info = msgspec.field(default_factory=_Info)

    def row(self) -> Row:
        return Row(
            self.min_notional,
            self.max_notional,
            self.maintenance_margin_rate,
            self.max_leverage,
            self.info.cum,
        )


class _TierRow(msgspec.Struct):
    floor: Decimal
    cap: Decimal
    mmr: Decimal
    max_leverage: Decimal
    cum: Decimal | None = None

    def row(self) -> Row:
        return Row(self.floor, self.cap, self.mmr, self.max_leverage, self.cum)


_ROWS: Mapping[Form, type[_BinanceRow | _CcxtRow | _TierRow]] = {
    "binance": _BinanceRow,
    "ccxt": _CcxtRow,
    "tiers": _TierRow,
}


def rows(raw: bytes, form: Form, file: str) -> dict[str, list[Row]]:
    """Return the rows of every contract, by its name at the exchange, in the order given.

    Raises `FileFaults` naming contract and row of all that is not of that form.
    """
    found: dict[str, list[Row]] = {}
    faults: list[str] = []
    try:
        for contract, table in _tables(raw, form):
            name = contract_name(contract)
            if name in found:
                faults.append(f"{contract}: {name} has its brackets already")
                continue
            found[name] = list(_read(contract, table, form, faults))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileFaults(file, [f"not brackets as {form} writes them: {error}"]) from error
    if faults and not any(found.values()):
        # Another form altogether: one row says it.
        raise FileFaults(file, [f"not brackets as {form} writes them: {faults[0]}"])
    if faults:
        raise FileFaults(file, faults)
    return found


def requirements(raw: bytes, form: Form, file: str) -> dict[str, Requirement]:
    """Return the requirement of every contract; raises `FileFaults` naming every fault."""
    tables = rows(raw, form, file)
    faults = [
        f"{symbol}: {fault}" for symbol, table in tables.items() for fault in _row_faults(table)
    ]
    if faults:
        raise FileFaults(file, faults)
    found = {symbol: _requirement(table) for symbol, table in tables.items()}
    faults += profile_faults.faults(
        RiskProfile(
            name=file,
            numeraire="numeraire",
            requirements=found,
            collateral={"numeraire": Collateral()},
            conversion=("numeraire",),
        )
    )
    if faults:
        raise FileFaults(file, faults)
    return found


def to_toml(tables: dict[str, Requirement]) -> str:
    """Write marginal brackets as a [requirements] table."""
    lines = ["[requirements]"]
    for symbol, requirement in tables.items():
        key = symbol if BARE_KEY.fullmatch(symbol) else f'"{symbol}"'
        lines.append(f"{key}.brackets = [")
        lines += [f"    {_inline(bracket)}," for bracket in requirement.brackets]
        lines.append("]")
    return "\n".join(lines) + "\n"


def _inline(bracket: Bracket) -> str:
    pairs = {
        "cap": bracket.cap,
        "maintenance_rate": bracket.maintenance_rate,
        "max_leverage": bracket.max_leverage,
    }
    given = ", ".join(f"{key} = {_number(value)}" for key, value in pairs.items() if value)
    return "{ " + given + " }"


def _number(value: Decimal) -> str:
    """Write a number as TOML does, thousands of a large whole one set apart."""
    text = plain(value)
    if not text.isdigit() or value < 10_000:
        return text
    # A whole number of TOML is read below 2^53 only; with a point it is a decimal of any size.
    return f"{int(text):_}" if value < WHOLE_MAX else f"{text}.0"


def _tables(raw: bytes, form: Form) -> Iterator[tuple[str, msgspec.Raw]]:
    """Yield every contract with what should be its rows."""
    if form != "binance":
        yield from msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).items()
        return
    for table in msgspec.json.decode(raw, type=list[_BinanceTable]):
        yield table.symbol, table.brackets


def _read(contract: str, table: msgspec.Raw, form: Form, faults: list[str]) -> Iterator[Row]:
    """Yield the rows of a contract; what is none is added to `faults`."""
    try:
        parts = msgspec.json.decode(table, type=list[msgspec.Raw])
    except msgspec.DecodeError as error:
        faults.append(f"{contract}: {error}")
        return
    for place, part in enumerate(parts, start=1):
        try:
            yield msgspec.json.decode(part, type=_ROWS[form]).row()
        except msgspec.DecodeError as error:
            faults.append(f"{contract}: bracket {place}: {error}")


def contract_name(symbol: str) -> str:
    """Return the exchange's name of a contract that ccxt calls `BTC/USDT:USDT-241227`;
    a name without a slash is the exchange's already."""
    pair, _, settle = symbol.partition(":")
    _, _, expiry = settle.partition("-")
    return pair.replace("/", "") + (f"_{expiry}" if expiry else "")


def _requirement(table: list[Row]) -> Requirement:
    return Requirement(
        brackets=tuple(
            Bracket(cap=row.cap, maintenance_rate=row.rate, max_leverage=row.max_leverage)
            for row in table
        )
    )


@exact
def _row_faults(table: list[Row]) -> list[str]:
    return list(_unread(table)) or list(_breaks(table))


def _unread(table: list[Row]) -> Iterator[str]:
    """Yield every number that no event could carry."""
    for place, row in enumerate(table, start=1):
        for name, number in row._asdict().items():
            if number is None:
                continue
            _, digits, exponent = number.as_tuple()
            if not isinstance(exponent, int):
                yield f"bracket {place}: {name} {number} is not a number"
            elif max(len(digits), len(digits) + exponent, -exponent) > DIGITS_MAX:
                yield f"bracket {place}: {name} has more than {DIGITS_MAX} digits"


def _breaks(table: list[Row]) -> Iterator[str]:
    """Yield every row that does not follow from the one before it."""
    cap, rate, cum = ZERO, ZERO, ZERO
    for place, row in enumerate(table, start=1):
        if row.floor != cap:
            yield f"bracket {place}: floor {plain(row.floor)} is not the cap before, {plain(cap)}"
        expected = cum + row.floor * (row.rate - rate)
        if row.cum is not None and row.cum != expected:
            yield (
                f"bracket {place}: cum {plain(row.cum)} is not {plain(cum)} + {plain(row.floor)} · "
                f"({plain(row.rate)} − {plain(rate)}) = {plain(expected)}"
            )
        cap, rate, cum = row.cap, row.rate, expected if row.cum is None else row.cum
