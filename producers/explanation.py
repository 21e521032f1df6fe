"""Tell people how a liquidation order came about: evidence, arithmetic, course, losses."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from engine import decisions as d
from engine.money import ONE, ZERO, exact
from producers.course import (
    Course,
    as_data,
    auction,
    beginning,
    course_data,
    deleverage,
    evidence,
    seizure,
    show_course,
    take_over,
)
from producers.loan_report import loans_said, seizure_said
from producers.order_size import Transfer, planned_with, size_said
from producers.report import full, moment, table

Ask = d.LiquidationOrder | Transfer | d.CollateralSale | d.CollateralLiquidation | d.AuctionStarted


class Explanation(NamedTuple):
    """An order, the start of its liquidation, what it was decided on, and all that happened.

    `arithmetic` is what `producers.arithmetic.of_group` gives; `course` has engine times; `waits`
    says what the liquidation waits for after it.
    """

    order: Ask
    started: d.LiquidationStarted
    arithmetic: dict[str, Any] | None
    course: Course
    waits: d.Waits = ""


def data(told: Explanation) -> dict[str, Any]:
    """Return the whole explanation as plain data; amounts are decimals."""
    return {
        "order": as_data(told.order),
        "started": as_data(told.started),
        "arithmetic": told.arithmetic,
        "course": course_data(told.course),
        "waits": told.waits,
    }


@exact
def show(out: Console, told: Explanation) -> None:
    """Print the whole explanation."""
    order, started, found, course, waits = told
    _say(out, _headline(order), style="bold")
    _say(out, f"Decided {moment(order.time)} UTC by shard {order.shard}, event {order.seq}.")
    _say(out, beginning(started, found["numeraire"] if found else ""))
    out.print(evidence(started))
    if found is None:
        _say(out, "The state that it was decided on is gone by the end of its event.")
    else:
        out.print(_prices(order, found))
        _show_health(out, found)
        if isinstance(order, d.LiquidationOrder):
            _show_limit(out, order, found, course)
        elif isinstance(order, Transfer):
            _show_transfer(out, order, found, course)
        elif isinstance(order, d.CollateralSale):
            _show_sale(out, order, found)
        elif isinstance(order, d.CollateralLiquidation):
            _say(out, "\nAmount and collateral of the seizure", style="bold")
            for line in seizure_said(order, found["loans"], found["repayment"]):
                _say(out, f"  {line}")
    show_course(out, course, waits)


def _say(out: Console, text: str, style: str = "") -> None:
    out.print(text, style=style or None)


def _headline(order: Ask) -> str:
    if isinstance(order, d.CollateralSale):
        return (
            f"Collateral sale {order.order_id}: sell {full(order.amount)} {order.asset} for "
            f"{order.for_asset} at {full(order.limit_price)} or better"
        )
    if isinstance(order, d.CollateralLiquidation):
        return f"Seizure {order.order_id}: {seizure(order)}"
    if isinstance(order, d.AuctionStarted):
        return f"Auction {order.auction_id}: {auction(order)}"
    if isinstance(order, d.TakeOver):
        return f"Transfer {order.order_id}: {take_over(order)}"
    if isinstance(order, d.Deleverage):
        return f"Deleveraging {order.order_id}: {deleverage(order)}"
    return (
        f"Order {order.order_id}: {order.side} {full(order.size)} {order.symbol} at "
        f"{full(order.limit_price)} or better, stage {order.stage}"
        + (", toxic" if order.toxic else "")
        + (f", replaces {order.replaces}" if order.replaces else "")
    )


def _prices(order: Ask, found: dict[str, Any]) -> Table:
    made = table("Prices that the order rests on", ["Symbol", "Kind", "Source", "Time", "Price"], 4)
    for mark in found["prices"]:
        row = (mark["symbol"], mark["kind"], mark["source"], moment(mark["time"]))
        made.add_row(*row, full(mark["price"]))
    return made


def _show_health(out: Console, found: dict[str, Any]) -> None:
    _say(out, "\nHealth when it was decided", style="bold")
    for line in health_said(found):
        _say(out, f"  {line}")


def health_said(found: dict[str, Any]) -> Iterator[str]:
    """Say how a group's health comes about: requirements, balances, thresholds."""
    unit = found["numeraire"]
    for leg in found["legs"]:
        yield from _requirement(leg)
    for held in found["portfolios"]:
        yield _portfolio(held, unit)
    worth = margin_worth = Decimal(0)
    for held in found["balances"]:
        value, counts = held["net"] * held["price"], held["counted"] * held["price"]
        worth, margin_worth = worth + value, margin_worth + counts * held["weight"]
        yield _balance(held, unit)
    yield from loans_said(found["loans"], unit)
    for loan in found["loans"]:
        worth += loan["supplied_value"] - loan["owed_value"]
        margin_worth += loan["counted"]
    yield f"equity = {full(worth)} {unit}"
    returned = found["returned"]
    whole = full(margin_worth)
    if returned:
        whole += f" + requirements of legs {full(returned)} = {full(margin_worth + returned)}"
    yield f"margin equity = {whole} {unit}"
    yield _thresholds(found)


def _portfolio(held: dict[str, Any], unit: str) -> str:
    """Say what a portfolio needs and why, in one sentence."""
    said = f"portfolio {held['underlying']} ({held['rule']}): "
    if held["price_move"] is None:
        said += "no scenario loses"
    else:
        said += (
            f"worst loss {full(held['worst_loss'])} with the price moved by "
            f"{full(held['price_move'])} and volatility by {full(held['volatility_move'])}"
        )
        if held["weight"] != 1:
            said += f", {full(held['weight'])} of it counts"
    parts = [("minimum of short options", "short_option_minimum")]
    for name, key in [*parts, ("contingencies", "contingencies")]:
        if held[key]:
            said += f"; {name} {full(held[key])}"
    if held["maintenance_factor"] != 1:
        said += f"; all × {full(held['maintenance_factor'])}"
    if held["closing"]:
        said += f"; closing {full(held['closing'])}"
    return f"{said}; maintenance {full(held['maintenance'])} {unit}"


def _balance(held: dict[str, Any], unit: str) -> str:
    asset, price = held["asset"], full(held["price"])
    value, counts = held["net"] * held["price"], held["counted"] * held["price"]
    said = (
        f"{asset}: cash {full(held['cash'])} + unrealised {full(held['unrealised'])} = "
        f"{full(held['net'])}; × price {price} = {full(value)} {unit}; "
    )
    if held["counted"] != held["net"]:
        said += f"of it {full(held['counted'])} counts, × price {price} = {full(counts)} {unit}; "
    weight = f"× {full(held['weight'])} ({held['weight_rule']})"
    return f"{said}{weight} = {full(counts * held['weight'])} {unit}"


def _thresholds(found: dict[str, Any]) -> str:
    unit, sign = found["numeraire"], "≤" if found["at_equality"] else "<"
    fixed = f" (with {full(found['fixed_cost'])} to close)" if found["fixed_cost"] else ""
    stop = f"{found['stop_at']} × {full(ONE + found['stop_buffer'])}"
    if found["stop_notional_buffer"]:
        stop += f" + {full(found['stop_notional_buffer'])} × notional"
    reached = ""
    if found["stop_at"] == "initial":
        reached = f", margin equity at initial weights {full(found['stop_margin_equity'])}"
    return (
        f"maintenance = {full(found['maintenance'])} {unit}{fixed}; liquidation starts at margin "
        f"equity {sign} maintenance and stops at ≥ {full(found['stop'])} {unit} ({stop}{reached})"
    )


def _requirement(leg: dict[str, Any]) -> Iterator[str]:
    unit, size, mark = leg["settle"], full(leg["size"]), full(leg["mark"])
    sign = "−" if leg["inverse"] else ""
    times = "÷" if leg["inverse"] else "×"
    price = "" if leg["settle_price"] == 1 else f" × price {full(leg['settle_price'])}"
    yield (
        f"{leg['symbol']}: value {sign}{size} × {full(leg['multiplier'])} {times} {mark} = "
        f"{full(leg['value'])} {unit}; less cost {full(leg['cost'])} = unrealised "
        f"{full(leg['unrealised'])} {unit}"
    )
    *before, last = leg["steps"]
    for step in before:
        yield f"  {step['what']}: {full(step['amount'])} {unit}"
    yield (
        f"  maintenance ({leg['rule']}): {last['what']} = {full(leg['maintenance'])} {unit}"
        + (f"{price} = {full(leg['required'])}" if price else "")
    )


def _show_limit(
    out: Console, order: d.LiquidationOrder, found: dict[str, Any], course: Course
) -> None:
    _say(out, "\nSize and prices of the order", style="bold")
    for line in [*size_said(order, found, planned_with(order, course)), *limit_said(order, found)]:
        _say(out, f"  {line}")


def _show_transfer(out: Console, transfer: Transfer, found: dict[str, Any], course: Course) -> None:
    _say(out, "\nSize and price of the transfer", style="bold")
    for line in size_said(transfer, found, planned_with(transfer, course)):
        _say(out, f"  {line}")
    leg = next(leg for leg in found["legs"] if leg["symbol"] == transfer.symbol)
    for line in _bankruptcy_said(leg, found, sells=transfer.side == "sell"):
        _say(out, f"  {line}")
    if transfer.price != leg["bankruptcy_price"]:
        _say(out, f"  it goes over at the mark: {full(transfer.price)}")
    elif isinstance(transfer, d.TakeOver):
        _say(
            out,
            f"  the market does not take it at the limit: it goes over at {full(transfer.price)}",
        )
    if isinstance(transfer, d.Deleverage):
        _say(
            out,
            f"  the counterparty forgoes {full(transfer.size)} at {full(leg['mark'])} less at "
            f"{full(transfer.price)}: {full(transfer.forgone)} {leg['settle']}",
        )


def limit_said(order: d.LiquidationOrder, found: dict[str, Any]) -> Iterator[str]:
    """Say how the prices of an order come about."""
    leg = next(leg for leg in found["legs"] if leg["symbol"] == order.symbol)
    sells = order.side == "sell"
    yield from _bankruptcy_said(leg, found, sells=sells)
    if leg["fillable"] is None:
        yield f"limit after the taker fee: {_limit(leg, sells)}"
    else:
        yield f"limit: {_fillable(leg, found, sells)}"
    yield _stage(order, found, leg["limit_price"])
    if order.toxic:
        yield "toxic: what is left after it has less margin for what it needs"


def _bankruptcy_said(leg: dict[str, Any], found: dict[str, Any], *, sells: bool) -> Iterator[str]:
    unit, whole = leg["settle"], full(leg["share_whole"])
    if leg["settle_price"] != 1:
        whole = f"({whole} × {full(leg['settle_price'])})"
    yield (
        f"its share of equity, by maintenance: {full(found['equity'])} × "
        f"{full(leg['share_part'])} ÷ {whole} = {full(leg['share'])} {unit}"
    )
    yield (
        f"value at which the share is used up: {full(leg['unrounded_value'])} − "
        f"{full(leg['share'])} = {full(leg['target'])} {unit}"
    )
    yield f"bankruptcy price: {_solved(leg, sells)}"


def _solved(leg: dict[str, Any], sells: bool) -> str:
    if leg["bankruptcy_price"] is None:
        return "none, no positive price uses it up"
    way, step = "up" if sells else "down", full(leg["price_unit"])
    found = f"{full(leg['bankruptcy_exact'])}, {way} to {step}: {full(leg['bankruptcy_price'])}"
    return f"{_quotient(leg, '')} = {found}"


def _limit(leg: dict[str, Any], sells: bool) -> str:
    if leg["limit_price"] is None:
        return "none, no positive price does"
    # Coins are owed for an inverse long, and its fee comes on top: the sign turns.
    sign = "−" if sells != leg["inverse"] else "+"
    way, tick = "up" if sells else "down", leg["tick"]
    further = abs(leg["limit_price"] - leg["limit_exact"]) >= tick
    quotient = _quotient(leg, f" × (1 {sign} {full(leg['taker_fee'])})")
    return (
        f"{quotient} = {full(leg['limit_exact'])}, {way} to tick {full(tick)}: "
        f"{full(leg['limit_price'])}"
        + (" (further, until cost and fee as they are rounded fit in)" if further else "")
    )


def _fillable(leg: dict[str, Any], found: dict[str, Any], sells: bool) -> str:
    rule, way = leg["fillable"], "up" if sells else "down"
    limit = "none" if leg["limit_price"] is None else full(leg["limit_price"])
    return (
        f"where the value is {full(leg['unrounded_value'])} − clamp({full(rule['adjustment'])} × "
        f"(1 − {full(found['margin_equity'])} ÷ {full(found['maintenance'])}), 0, 1) × "
        f"{full(rule['spread'])} × {full(leg['maintenance'])}, {way} to tick {full(leg['tick'])}: "
        f"{limit}"
    )


def _quotient(leg: dict[str, Any], factor: str) -> str:
    exposure = f"({full(abs(leg['size']))} × {full(leg['multiplier'])}{factor})"
    goal = full(abs(leg["target"]))
    return f"{exposure} ÷ {goal}" if leg["inverse"] else f"{goal} ÷ {exposure}"


def _stage(order: d.LiquidationOrder, found: dict[str, Any], limit: Decimal | None) -> str:
    mark, slippage = full(order.decided_mark), full(found["max_slippage"])
    sign = "−" if order.side == "sell" else "+"
    slipped = f"mark {mark} × (1 {sign} {slippage}), to the tick: {full(order.limit_price)}"
    if order.stage == "backstop":
        return f"{_why_backstop(order, found, limit)}: stage backstop, at {slipped}"
    if limit is not None and order.limit_price == limit:
        return f"the mark {mark} is not beyond the limit: stage limit, at the limit"
    if found["rules"]["by_mark"]:
        by = found["rules"]["limit"]
        return f"stage limit, nearer to the mark {mark}: {full(order.limit_price)} ({by})"
    return f"without a limit and with equity left, stage limit at {slipped}"


def _why_backstop(order: d.LiquidationOrder, found: dict[str, Any], limit: Decimal | None) -> str:
    beyond = limit is not None and (
        order.decided_mark < limit if order.side == "sell" else order.decided_mark > limit
    )
    below = found["rules"]["backstop_below"]
    if beyond:
        return f"the mark {full(order.decided_mark)} is beyond the limit"
    if limit is None and found["equity"] < 0:
        return "there is no limit and equity is negative"
    if below is not None and found["margin_equity"] < below * found["maintenance"]:
        return f"margin equity is below {full(below)} × maintenance"
    if order.toxic and found["rules"]["toxic"] == "take_over":
        return "it lowers health, and goes to those who take positions"
    return "an order of this liquidation expired before"


def _show_sale(out: Console, sale: d.CollateralSale, found: dict[str, Any]) -> None:
    held = {balance["asset"]: balance for balance in found["balances"]}
    sold, (owed, price) = held[sale.asset], _owed(sale.for_asset, found)
    _say(out, "\nAmount and limit of the sale", style="bold")
    _say(
        out,
        f"  owed: {full(owed)} {sale.for_asset} at {full(price)} {found['numeraire']}; held: "
        f"{full(sold['cash'])} {sale.asset} at {full(sold['price'])}",
    )
    _say(
        out,
        f"  what is still owed × {full(price)} ÷ {full(sold['price'])}, up to the unit and "
        f"at most what is held: {full(sale.amount)} {sale.asset}",
    )
    _say(
        out,
        f"  limit: {full(sold['price'])} × (1 − {full(found['max_slippage'])}) ÷ "
        f"{full(price)}, up: {full(sale.limit_price)} {sale.for_asset} per {sale.asset}",
    )


def _owed(asset: str, found: dict[str, Any]) -> tuple[Decimal, Decimal]:
    """Return what is owed in an asset, as negative cash, else to pools, and the asset's price."""
    for held in found["balances"]:
        if held["asset"] == asset and held["cash"] < 0:
            return -held["cash"], held["price"]
    loans = [loan for loan in found["loans"] if loan["asset"] == asset]
    return sum((loan["owed"] for loan in loans), ZERO), loans[0]["price"]
