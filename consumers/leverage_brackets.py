"""Leverage brackets as exchanges publish them, read into requirement tables of a profile.

Two forms: Binance's own (GET /fapi/v1/leverageBracket) and that of ccxt's `fetch_leverage_tiers`.
Both carry a cumulative amount `cum`, which follows from floors and rates:
cum(k) = cum(k−1) + floor(k)·(rate(k) − rate(k−1)). A row that breaks this is named, not imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Literal, NamedTuple

import msgspec

from consumers.toml_file import FileFaults
from engine import profile_faults
from engine.money import ZERO, exact, plain
from engine.profile import Bracket, Collateral, Requirement, RiskProfile
from engine.wire import DIGITS_MAX, WHOLE_MAX

Form = Literal["binance", "ccxt"]

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


class _BinanceTable(msgspec.Struct):
    symbol: str
    brackets: list[_BinanceRow]


class _Info(msgspec.Struct):
    cum: Decimal | None = None


class _CcxtRow(msgspec.Struct, rename="camel"):
    min_notional: Decimal
    max_notional: Decimal
    maintenance_margin_rate: Decimal
    max_leverage: Decimal
    info: _Info = msgspec.field(default_factory=_Info)


def rows(raw: bytes, form: Form, file: str) -> dict[str, list[Row]]:
    """Return the rows of every contract, by its name at the exchange, in the order given.

    Raises `FileFaults` when `raw` is not of that form.
    """
    try:
        return _binance(raw) if form == "binance" else _ccxt(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileFaults(file, [f"not brackets as {form} writes them: {error}"]) from error


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


def _binance(raw: bytes) -> dict[str, list[Row]]:
    found = msgspec.json.decode(raw, type=list[_BinanceTable])
    return {
        table.symbol: [
            Row(
                row.notional_floor,
                row.notional_cap,
                row.maint_margin_ratio,
                row.initial_leverage,
                row.cum,
            )
            for row in table.brackets
        ]
        for table in found
    }


def _ccxt(raw: bytes) -> dict[str, list[Row]]:
    found = msgspec.json.decode(raw, type=dict[str, list[_CcxtRow]])
    return {
        contract_name(symbol): [
            Row(
                row.min_notional,
                row.max_notional,
                row.maintenance_margin_rate,
                row.max_leverage,
                row.info.cum,
            )
            for row in table
        ]
        for symbol, table in found.items()
    }


def contract_name(symbol: str) -> str:
    """Return the exchange's name of a contract that ccxt calls `BTC/USDT:USDT-241227`."""
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
