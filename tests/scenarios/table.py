"""Reads a scenario, tells its events, and compares what is decided with what the table says.

A file holds scenarios, each under a line `== what it shows`. A line is an event, `=>` and the
decision expected of it; further decisions of the same event stand below, each behind a `=>`. A line
without `=>` expects none. `=> alice waits: toxic` is no decision: it says what her liquidation
waits for after the event. `rules` lines are TOML, laid over RULES; those above the first scenario
hold for all of the file. Every line takes a millisecond. Order #2.1 of an account is the first
attempt of its second liquidation.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from engine import events as e
from engine.decisions import AnyDecision
from engine.instruments import Asset, Instrument, Perpetual
from engine.profile import RiskProfile
from engine.profile_faults import faults
from tests.scenarios.words import attempt, said

RULES = """
name = "scenario"
numeraire = "USDT"
conversion = ["USDT", "ETH"]
collateral.USDT = {}
collateral.ETH = { haircut = 0.1 }
requirements."*".brackets = [{ cap = 1_000_000, initial_rate = 0.1, maintenance_rate = 0.05 }]
trigger.stop_buffer = 0
margin_call = { at = 0.9, reset = 0.8 }
"""
"""Maintenance of 5 %, no buffer and no fees: a long of 10 at 100 with 100 breaches below 94.74."""

LARGEST = Decimal(10) ** 9
LISTED: tuple[Instrument, ...] = (
    Asset("USDT", 2, LARGEST),
    Asset("ETH", 4, LARGEST, price_decimals=2),
    Perpetual(
        "X", "USDT", 0, 2, Decimal("0.1"), Decimal(1), LARGEST, taker_fee=Decimal(0), underlying="X"
    ),
    Perpetual("Y", "USDT", 0, 2, Decimal("0.1"), Decimal(1), LARGEST, taker_fee=Decimal(0)),
    Perpetual("XF", "USDT", 0, 2, Decimal("0.1"), Decimal(1), LARGEST, underlying="X"),
)


class Machine(Protocol):
    """What the scenario is told to: the engine, or its twin."""

    def apply(self, event: e.AnyEvent) -> list[AnyDecision]: ...
    def waits(self, account: str, margin: str) -> str: ...


class Line(NamedTuple):
    """One event of a scenario, the decisions expected of it, and what groups (account, margin) wait
    for after it; `number` is the file's line."""

    number: int
    event: str
    expected: list[str]
    waits: dict[tuple[str, str], str]


class Scenario(NamedTuple):
    """What a scenario shows, and its lines."""

    name: str
    lines: list[Line]


def scenarios(path: Path) -> Iterator[Scenario]:
    """Yield the scenarios of a file."""
    name, lines, common = "", list[Line](), list[Line]()
    for number, raw in enumerate(path.read_text().splitlines(), start=1):
        text = raw.split("#  ")[0].rstrip()
        if text.startswith("=="):
            if name:
                yield Scenario(name, lines)
            else:
                common = lines
            name, lines = text.removeprefix("==").strip(), [*common]
        elif text.strip() and not text.startswith("#"):
            event, _, decision = (part.strip() for part in text.partition("=>"))
            if event:
                lines.append(Line(number, event, [], {}))
            if found := re.fullmatch(rf"{WHO} waits: (?P<waits>[a-z]+)", decision):
                lines[-1].waits[found["who"], _margin(found["leg"])] = found["waits"]
            elif decision:
                lines[-1].expected.append(decision)
    yield Scenario(name, lines)


class Teller:
    """Tells the lines of one scenario to a machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.time = 0
        self._rules: dict[str, Any] = tomllib.loads(RULES, parse_float=Decimal)
        self._begun = False
        self._sequences: dict[str, int] = {}
        self._orders: dict[tuple[str, str], str] = {}

    def tell(self, text: str) -> list[str]:
        """Tell one event, and return what is decided, in words."""
        if text.startswith("rules "):
            _lay_over(self._rules, tomllib.loads(text[6:], parse_float=Decimal))
            return []
        if not self._begun:
            self._begin()
        for pattern, make in GRAMMAR:
            if found := re.fullmatch(pattern, text):
                self.time += 1000
                return self.apply(*make(self, **found.groupdict()))
        raise ValueError(f"no event reads like this: {text}")

    def apply(self, kind: type[Any], fields: dict[str, Any]) -> list[str]:
        """Apply an event, numbered and timed, and return what is decided, in words."""
        if "sequence" in kind.__struct_fields__:
            series = fields.get("account") or f"{fields.get('symbol')}{fields.get('shard')}"
            self._sequences[series] = self._sequences.get(series, 0) + 1
            fields["sequence"] = self._sequences[series]
        decided = self.machine.apply(kind(time=self.time, **fields))
        for one in decided:
            if order_id := getattr(one, "order_id", "") or getattr(one, "auction_id", ""):
                self._orders[getattr(one, "account", ""), attempt(order_id)] = order_id
        return [said(one) for one in decided]

    def order(self, account: str, short: str | None) -> str:
        """Return the order id that a table shortens."""
        return self._orders[account, short] if short else ""

    def skip(self, account: str, count: int) -> None:
        """Leave out sequence numbers of an account."""
        self._sequences[account] += count

    def _begin(self) -> None:
        self._begun = True
        profile = msgspec.convert(self._rules, RiskProfile)
        assets = [one for one in LISTED if isinstance(one, Asset)]
        rest = [one for one in LISTED if not isinstance(one, Asset)]
        for one in assets:
            self.apply(e.InstrumentListed, {"instrument": one})
        if wrong := faults(profile):
            raise ValueError(f"rules: {wrong}")
        self.apply(e.ProfileChanged, {"profile": profile})
        for instrument in rest:
            self.apply(e.InstrumentListed, {"instrument": instrument})


def _lay_over(tree: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict) and "rule" not in value:
            _lay_over(tree[key], value)
        else:
            tree[key] = value


# --- the grammar

Made = tuple[type[Any], dict[str, Any]]
N = r"(?P<n>[\d.,_]+)"
M = r"(?P<m>[\d.,_]+)"
WHO = r"(?P<who>[a-z]+)(?:/(?P<leg>[A-Z]+))?"
SYMBOL = r"(?P<symbol>[A-Z]+)"
ORDER = r"(?: order (?P<order>#\d+\.\d+))?"


def _amount(text: str) -> Decimal:
    return Decimal(text.replace(",", "").replace("_", ""))


def _margin(leg: str | None) -> str:
    return f"isolated:{leg}" if leg else "cross"


def _traded(
    teller: Teller, who: str, leg: str | None, way: str, n: str, symbol: str, m: str,
    fee: str | None, order: str | None,
) -> Made:  # fmt: skip
    size = _amount(n) if way == "buys" else -_amount(n)
    return e.Fill, {
        "account": who, "margin": _margin(leg), "symbol": symbol, "size": size,
        "price": _amount(m), "fee": _amount(fee or "0"), "fee_asset": "USDT",
        "fill_id": str(teller.time), "order_id": teller.order(who, order),
    }  # fmt: skip


def _money(kind: type[Any]) -> Callable[..., Made]:
    return lambda teller, who, leg, n, symbol: (
        kind,
        {"account": who, "asset": symbol, "amount": _amount(n)},
    )


def _pool(kind: type[Any]) -> Callable[..., Made]:
    return lambda teller, who, leg, n, symbol: (
        kind,
        {"account": who, "pool": symbol, "amount": _amount(n), "margin": _margin(leg)},
    )


def _price(kind: str) -> Callable[..., Made]:
    return lambda teller, symbol, n: (
        e.PriceUpdate,
        {"symbol": symbol, "kind": kind, "price": _amount(n), "source": "venue"},
    )


def _moved(teller: Teller, who: str, leg: str | None, way: str, n: str) -> Made:
    amount = _amount(n) if way == "in" else -_amount(n)
    return e.MarginMoved, {"account": who, "symbol": leg, "amount": amount}


def _rests(
    teller: Teller, who: str, leg: str | None, way: str, n: str, symbol: str
) -> Made:  # fmt: skip
    sizes = {"buy_size": Decimal(0), "sell_size": Decimal(0), f"{way}_size": _amount(n)}
    return e.OpenOrders, {"account": who, "margin": _margin(leg), "symbol": symbol, **sizes}


def _cancelled(teller: Teller, who: str, leg: str | None) -> Made:
    return e.OrdersCancelled, {"account": who, "margin": _margin(leg)}


def _closed(teller: Teller, who: str, leg: str | None, order: str, n: str) -> Made:
    fields = {"order_id": teller.order(who, order), "filled_size": _amount(n)}
    return e.OrderClosed, {"account": who, **fields}


def _sold(
    teller: Teller, who: str, leg: str | None, n: str, symbol: str, m: str, other: str,
    order: str | None,
) -> Made:  # fmt: skip
    return e.CollateralSold, {
        "account": who, "margin": _margin(leg), "asset": symbol, "amount": _amount(n),
        "for_asset": other, "proceeds": _amount(m), "order_id": teller.order(who, order),
    }  # fmt: skip


def _role(teller: Teller, who: str, leg: str | None, role: str) -> Made:
    return e.AccountOpened, {"account": who, "role": role.replace(" ", "_")}


def _lost(teller: Teller, who: str, leg: str | None, n: str) -> Made:
    teller.skip(who, int(n))
    return e.TimePassed, {}


def _snapshot(
    teller: Teller, who: str, leg: str | None, n: str, size: str | None, symbol: str | None,
    cost: str | None,
) -> Made:  # fmt: skip
    legs = (e.LegSnapshot(symbol, _amount(size), _amount(cost or "0")),) if symbol and size else ()
    group = e.GroupSnapshot(_margin(leg), {"USDT": _amount(n)}, legs)
    return e.PositionSnapshot, {"account": who, "groups": (group,)}


def _fund(teller: Teller, way: str, n: str, symbol: str, name: str | None) -> Made:
    amount = _amount(n) if way == "gets" else -_amount(n)
    return e.FundMoved, {"shard": 0, "asset": symbol, "amount": amount, "fund": name or ""}


def _debt(kind: type[Any]) -> Callable[..., Made]:
    return lambda teller, n, symbol, market: (
        kind,
        {"shard": 0, "asset": symbol, "amount": _amount(n), "market": market},
    )


def _scope(kind: type[Any]) -> Callable[..., Made]:
    return lambda teller, symbol: (kind, {"symbol": symbol or ""})


def _wait(teller: Teller, n: str) -> Made:
    teller.time += round(_amount(n) * 1_000_000) - 1000
    return e.TimePassed, {}


def _interest(teller: Teller, symbol: str, n: str, m: str) -> Made:
    return e.MarketState, {"symbol": symbol, "long_size": _amount(n), "short_size": _amount(m)}


def _settled(teller: Teller, symbol: str, n: str) -> Made:
    return e.Settled, {"symbol": symbol, "price": _amount(n)}


def _seized(
    teller: Teller, who: str, leg: str | None, n: str, symbol: str, m: str, other: str,
    order: str | None,
) -> Made:  # fmt: skip
    return e.Seized, {
        "account": who, "margin": _margin(leg), "pool": symbol, "repaid": _amount(n),
        "collateral": other, "seized": _amount(m), "order_id": teller.order(who, order),
    }  # fmt: skip


def _bid(teller: Teller, who: str, leg: str | None, order: str, n: str, m: str) -> Made:
    fields = {"auction_id": teller.order(who, order), "paid": _amount(n), "amount": _amount(m)}
    return e.AuctionTaken, {"account": who, "margin": _margin(leg), **fields}


GRAMMAR: tuple[tuple[str, Callable[..., Made]], ...] = (
    (rf"{WHO} deposits {N} {SYMBOL}", _money(e.Deposit)),
    (rf"{WHO} withdraws {N} {SYMBOL}", _money(e.Withdrawal)),
    (rf"{WHO} (?P<way>buys|sells) {N} {SYMBOL} at {M}(?: fee (?P<fee>[\d.]+))?{ORDER}", _traded),
    (rf"{WHO} moves (?P<way>in|out) {N}", _moved),
    (rf"{WHO} rests (?P<way>buy|sell) {N} {SYMBOL}", _rests),
    (rf"{WHO} own orders cancelled", _cancelled),
    (rf"{WHO} order (?P<order>#\d+\.\d+) closed, filled {N}", _closed),
    (rf"{WHO} sold {N} {SYMBOL} for {M} (?P<other>[A-Z]+){ORDER}", _sold),
    (rf"{WHO} is (?P<role>trader|market maker|backstop|fund|exempt)", _role),
    (rf"{WHO} loses {N} events", _lost),
    (
        rf"{WHO} snapshot: {N} USDT(?:, (?P<size>[\d.]+) {SYMBOL} of cost (?P<cost>[\d.]+))?",
        _snapshot,
    ),
    (rf"{WHO} supplies {N} {SYMBOL}", _pool(e.Supplied)),
    (rf"{WHO} borrows {N} {SYMBOL}", _pool(e.Borrow)),
    (rf"{WHO} repays {N} {SYMBOL}", _pool(e.Repay)),
    (rf"{WHO} redeems {N} {SYMBOL}", _pool(e.Redeemed)),
    (rf"{WHO} repaid {N} {SYMBOL}, seized {M} (?P<other>[A-Z]+){ORDER}", _seized),
    (rf"{WHO} auction (?P<order>#\d+\.\d+): {N} paid for {M}", _bid),
    (rf"mark {SYMBOL} {N}", _price("mark")),
    (rf"index {SYMBOL} {N}", _price("index")),
    (rf"fund (?P<way>gets|gives) {N} {SYMBOL}(?: for (?P<name>\w+))?", _fund),
    (rf"recovered {N} {SYMBOL} of (?P<market>\w+)", _debt(e.Recovered)),
    (rf"written off {N} {SYMBOL} of (?P<market>\w+)", _debt(e.WrittenOff)),
    (r"session closed", lambda teller: (e.SessionClosed, {})),
    (r"halt(?: (?P<symbol>[A-Z]+))?", _scope(e.Halt)),
    (r"resume(?: (?P<symbol>[A-Z]+))?", _scope(e.Resume)),
    (rf"wait {N} s", _wait),
    (rf"open interest {SYMBOL} {N} long {M} short", _interest),
    (rf"settle {SYMBOL} at {N}", _settled),
)
