"""What each kind of case is computed by.

An adapter takes the inputs of a case, calls one public function of the engine, under the names that
the function has for them, and gives what came of it under the names that cases have. It computes
nothing; what a venue rounds to is named here, the rounding is the engine's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from engine.closing import bankruptcy_price, bankruptcy_quote, fillable_price
from engine.liquidation import compare_risk
from engine.liquidation_price import liquidation_prices
from engine.liquidation_profile import Fillable, LiquidationRule
from engine.margin import (
    Health,
    LegHealth,
    liquidatable,
    notional,
)
from engine.money import ONE, ZERO, floor_to
from engine.options import volatility_move
from engine.profile import (
    Bracket,
    Collateral,
    Entry,
    OpenInterest,
    Profit,
    Requirement,
    Trigger,
)
from engine.requirement import (
    Exposure,
    RequirementCurve,
    borrows_scale,
    deposits_scale,
    initial_margin_fraction,
    size_discount,
    size_premium,
)
from engine.venue import skewed_fill_price
from tests.cases.accounts import (
    USD,
    Account,
    Inputs,
    NotExpressible,
    Position,
    account,
    complement,
    flat,
    number,
)
from tests.cases.auctions import AUCTIONS
from tests.cases.lending import LENDING
from tests.cases.seizures import SEIZURES

Results = dict[str, Any]

PPM = Decimal("0.000001")
"""What dYdX keeps rates to, rounded down, and quote amounts, rounded up; Drift rounds both down."""

DRIFT_WEIGHT = Decimal("0.0001")
"""What Drift keeps weights and margin ratios to, rounded down."""

SYMBOL = "X"


# --- requirements


def margin_requirement(inputs: Inputs) -> Results:
    """Give initial and maintenance margin of one position."""
    if "imf_factor" in inputs:
        return _drift_requirement(inputs)
    size, mark = _size(inputs), _mark(inputs)
    if "notional" in inputs:
        size, mark = number(inputs["notional"]), ONE
    rule, interest = _rule(inputs), None
    dydx = {"quote_step", "maintenance_fraction"} & inputs.keys()
    if dydx:
        rule, interest = _dydx_rule(inputs), _interest(inputs, mark)
    made = account({}, [Position(SYMBOL, size, mark, rule)])
    results = {"maintenance_margin": made.health.maintenance}
    if interest is not None and rule.open_interest is not None:
        base = rule.brackets[0].initial_rate or ZERO
        scaled = initial_margin_fraction(base, rule.open_interest, interest, PPM)
        made = account({}, [Position(SYMBOL, size, mark, flat(scaled, step=rule.step))])
    return {**results, "initial_margin": made.entry.requirement}


def _drift_requirement(inputs: Inputs) -> Results:
    """Give the initial margin by Drift, which rounds ratio, notional and product down, each."""
    size, mark = _size(inputs), _mark(inputs)
    base, factor = number(inputs["base_im_ratio"]), number(inputs["imf_factor"])
    rate = size_premium(base, factor, abs(size), step=DRIFT_WEIGHT)
    worth = floor_to(_notional(size, mark), PPM)
    required = RequirementCurve(flat(rate)).initial(Exposure(abs(size), worth, mark))
    return {"initial_margin": floor_to(required, PPM)}


def initial_fraction(inputs: Inputs) -> Results:
    """Give the initial rate as open interest raises it."""
    found = initial_margin_fraction(
        number(inputs["base_imf"]), _caps(inputs), number(inputs["open_interest_notional"]), PPM
    )
    return {"imf": found}


def maintenance_fraction(inputs: Inputs) -> Results:
    """Give the maintenance rate of a position that is wholly in one tier."""
    lowest, rates = zip(*inputs["tiers"], strict=True)
    caps = [*map(number, lowest[1:]), number(inputs["notional"])]
    brackets = tuple(
        Bracket(cap, initial_rate=number(rate), maintenance_rate=number(rate))
        for cap, rate in zip(caps, rates, strict=True)
    )
    curve = RequirementCurve(Requirement(brackets, marginal=False)).brackets
    at = Exposure(ZERO, number(inputs["notional"]), ONE)
    return {"mm_fraction": curve.rates[curve.bracket(at)]}


def volatility_shock(inputs: Inputs) -> Results:
    """Give a move of implied volatility as a portfolio's grid takes it."""
    move, exponent = number(inputs["base_iv_move"]), number(inputs["exponent"])
    days = float(number(inputs["days"]))
    return {"iv_move": Decimal.from_float(volatility_move(move, days, exponent))}


# --- weights


def collateral_haircut(inputs: Inputs) -> Results:
    """Give what a unit of an asset that is owned counts."""
    weight = number(inputs["base_asset_weight"])
    if "scale_start" in inputs:
        worth = _notional(number(inputs["total_deposits"]), number(inputs["oracle_price"]))
        scaled = deposits_scale(weight, number(inputs["scale_start"]), worth)
        return {"asset_weight": floor_to(scaled, DRIFT_WEIGHT)}
    size = number(inputs["unrealized_pnl" if "unrealized_pnl" in inputs else "size"])
    found = size_discount(weight, number(inputs["imf_factor"]), size, DRIFT_WEIGHT)
    return {"asset_weight": found}


def liability_weight(inputs: Inputs) -> Results:
    """Give what a unit of an asset that is owed counts."""
    weight = number(inputs["base_liability_weight"])
    if "scale_start" in inputs:
        worth = _notional(number(inputs["total_borrows"]), number(inputs["oracle_price"]))
        return {"liability_weight": borrows_scale(weight, number(inputs["scale_start"]), worth)}
    factor, size = number(inputs["imf_factor"]), number(inputs["size"])
    return {"liability_weight": size_premium(weight, factor, size, step=DRIFT_WEIGHT)}


# --- health


def equity_health(inputs: Inputs) -> Results:
    """Give what an account is worth: Synthetix' available margin, Mango's health."""
    return _mango_health(inputs) if "perp" in inputs else _synthetix_margin(inputs)


def _synthetix_margin(inputs: Inputs) -> Results:
    positions = list(_synthetix_positions(inputs["markets"]))
    alone = [account({}, [position]).health for position in positions]
    whole = account({USD: number(inputs["collateral_usd"])}, positions).health
    return {"pnl": [one.equity for one in alone], "available_margin": whole.margin_equity}


def _synthetix_positions(markets: list[Inputs]) -> Iterator[Position]:
    for place, market in enumerate(markets):
        size, scale = number(market["size"]), number(market["skew_scale"])
        price, skew = number(market["entry_oracle_price"]), number(market.get("skew", 0))
        filled = skewed_fill_price(price, size, skew, scale)
        yield Position(f"{SYMBOL}{place}", size, number(market["price"]), flat(), filled)


def _mango_health(inputs: Inputs) -> Results:
    known = {"usdc", "token2", "token3", "perp", "weights", "prices"}
    if others := sorted(inputs.keys() - known):
        raise NotExpressible(f"no rule for {', '.join(others)}")
    perp = {key: number(value) for key, value in inputs["perp"].items()}
    rate = complement(perp["asset_weight"])
    if rate != -complement(perp["liab_weight"]):
        raise NotExpressible("a requirement that differs for longs and shorts")
    # In lots, each with its value as the price; what was paid is a negative cost.
    leg = Position(SYMBOL, perp["base_lots"], perp["lot_value"], flat(rate), cost=-perp["quote"])
    tokens = dict(zip((USD, "token2", "token3"), ("usdc", "token2", "token3"), strict=True))
    made = account(
        {asset: number(inputs[name]) for asset, name in tokens.items()},
        [leg],
        prices=dict(zip(tokens, map(number, inputs["prices"]), strict=True)),
        orders={SYMBOL: (perp["bids"], perp["asks"])},
        collateral={asset: _weighted(inputs["weights"][name]) for asset, name in tokens.items()},
        profit=Profit(weight=perp["overall_asset_weight"], after_requirement=True),
        entry=Entry(open_orders="worst_case"),
    )
    return {"init_health": made.entry.surplus}


def _weighted(weights: list[Any]) -> Collateral:
    owned, owed = map(number, weights)
    return Collateral(initial_haircut=complement(owned), initial_borrow_weight=owed)


def is_liquidatable(inputs: Inputs) -> Results:
    """Tell whether an account is to be liquidated, and from what."""
    if "net_collateral" in inputs:
        made = _bare(inputs["net_collateral"], inputs["maintenance_margin"])
    else:
        made = _account(inputs)
    state = made.health
    alone = account({}, _positions(inputs)).health
    return {
        "pnl": alone.equity,
        "equity": state.equity,
        "net_collateral": state.equity,
        "maintenance_margin": state.maintenance,
        "is_liquidatable": liquidatable(state, made.rules),
    }


def risk_rank(inputs: Inputs) -> Results:
    """Tell which of two accounts is the riskier: 1 for the first, −1 for the second."""
    pair = (inputs["first"], inputs["second"])
    first, second = (_bare(one["nc"], one["mmr"]).health for one in pair)
    return {"cmp": compare_risk(second, first)}


def _bare(equity: Any, required: Any) -> Account:
    """Return an account with a leg that is worth nothing and needs what is required."""
    leg = Position(SYMBOL, ONE, ZERO, flat(fixed=number(required)))
    return account({USD: number(equity)}, [leg])


# --- prices


def bankruptcy(inputs: Inputs) -> Results:
    """Give the price, or the quote of a part, at which a leg's share of equity is used up."""
    made = _account(inputs)
    if "close_delta" in inputs:
        delta = number(inputs["close_delta"])
        quote = bankruptcy_quote(inputs["close_market"], delta, *made)
        return {"bankruptcy_quote_delta": quote}
    state, (position,) = made.health, _positions(inputs)
    price = bankruptcy_price(_leg(state, position.symbol), state, made.rules)
    results = {"equity": state.equity, "bankruptcy_price": price}
    if price is not None:
        opposite = position._replace(size=-position.size, mark=price)
        results["winner_pnl"] = account({}, [opposite]).health.equity
    return results


def limit(inputs: Inputs) -> Results:
    """Give the limit that widens with distress."""
    rule = Fillable(number(inputs["bankruptcy_adjustment"]), number(inputs["spread_to_mm_ratio"]))
    made = _account(inputs, liquidation=LiquidationRule(price=rule))
    state = made.health
    leg = _leg(state, inputs["close_market"])
    return {"fillable_price": fillable_price(leg, state, made.rules)}


def liquidation(inputs: Inputs) -> Results:
    """Give the mark at which an account is liquidated."""
    size, results = _size(inputs), {}
    if "leverage" in inputs and "wallet_balance" not in inputs:
        made, results = _opened_at_leverage(inputs, size)
    else:
        made = _account(inputs)
    found = liquidation_prices(SYMBOL, *made)
    return {**results, "liquidation_price": found.below if size > 0 else found.above}


def _opened_at_leverage(inputs: Inputs, size: Decimal) -> tuple[Account, Results]:
    """Return an isolated leg that brings its initial margin along.

    Bybit keeps the maintenance margin of the entry, OKX and Gate follow the mark and count the
    taker's fee.
    """
    entry, rate = number(inputs["entry_price"]), number(inputs["mmr"])
    opening = Bracket(ONE, max_leverage=number(inputs["leverage"]), maintenance_rate=rate)
    curve = RequirementCurve(Requirement((opening,)))
    at_entry = Exposure(abs(size), _notional(size, entry), entry)
    wallet = curve.initial(at_entry)
    fee = number(inputs.get("taker_fee", 0))
    rule, trigger = flat(None, rate), Trigger(taker_fee=bool(fee))
    results: Results = {"initial_margin": wallet, "maintenance_margin": curve.maintenance(at_entry)}
    if not fee:
        deducted = flat(None, rate, fixed=-number(inputs.get("mm_deduction", 0)))
        kept = RequirementCurve(deducted).maintenance(at_entry)
        rule, results["maintenance_margin"] = flat(fixed=kept), kept
    cash = {USD: wallet, "ADDED": number(inputs.get("extra_margin", 0))}
    leg = Position(SYMBOL, size, entry, rule, entry, taker_fee=fee)
    return account(cash, [leg], prices={"ADDED": ONE}, trigger=trigger), results


# --- accounts


def _account(inputs: Inputs, **policies: Any) -> Account:
    """Return the account that a case describes."""
    names = ("quote_balance", "collateral", "wallet_balance", "equity")
    name = next((name for name in names if name in inputs), None)
    if name is None:
        raise NotExpressible(f"no balance among the inputs: {', '.join(names)}")
    cash = {USD: number(inputs[name])}
    # dYdX' balances are whole numbers of its quote step.
    decimals = {"decimals": -PPM.adjusted()} if "quote_balance" in inputs else {}
    others = list(_others(inputs.get("other_positions", ())))
    results = dict(_results(inputs.get("other_positions", ())))
    return account(
        {**cash, **results},
        [*_positions(inputs), *others],
        prices=dict.fromkeys(results, ONE),
        **decimals,
        **policies,
    )


def _positions(inputs: Inputs) -> list[Position]:
    if "positions" in inputs:
        return [
            Position(
                one["market"],
                number(one["size"]),
                number(one["mark_price"]),
                flat(number(one["imf"]), number(one["mmf"]), step=PPM),
            )
            for one in inputs["positions"]
        ]
    return [_position(SYMBOL, inputs)] if "size" in inputs else []


def _position(symbol: str, inputs: Inputs) -> Position:
    entry = _first(inputs, "entry_price", "entry")
    mark = _first(inputs, "mark_price", "mark")
    found = entry if mark is None else mark
    if found is None:
        raise NotExpressible("neither a mark nor a price of entry among the inputs")
    return Position(symbol, _size(inputs), found, _rule(inputs), entry)


def _others(positions: list[Inputs]) -> Iterator[Position]:
    for place, one in enumerate(positions):
        name = f"OTHER{place}"
        if "size" in one:
            yield _position(name, one)
        else:
            yield Position(name, ONE, ZERO, flat(fixed=number(one["maintenance_margin"])))


def _results(positions: list[Inputs]) -> Iterator[tuple[str, Decimal]]:
    """Yield what other positions have gained or lost where that is all that is told of them."""
    for place, one in enumerate(positions):
        if "size" not in one:
            yield f"RESULT{place}", number(one["unrealized_pnl"])


def _rule(inputs: Inputs) -> Requirement:
    """Return the requirement by the names that venues have for its parts."""
    initial = _first(inputs, "base_imf", "imf", "base_im_ratio", "imr")
    maintenance = _first(inputs, "base_mmf", "mmf", "mmr")
    # A maintenance amount comes off the requirement: it is a fixed part with its sign turned.
    amount = _first(inputs, "maintenance_amount", "mm_deduction") or ZERO
    slope = _first(inputs, "slope_per_unit") or ZERO
    return flat(initial, maintenance, slope=slope, fixed=-amount)


def _dydx_rule(inputs: Inputs) -> Requirement:
    share = _first(inputs, "maintenance_fraction") or ZERO
    rate, step = number(inputs["base_imf"]), _first(inputs, "quote_step") or PPM
    scale = _caps(inputs) if "oi_upper_cap" in inputs else None
    return flat(rate, maintenance_share=share, step=step, open_interest=scale)


def _caps(inputs: Inputs) -> OpenInterest:
    return OpenInterest(number(inputs["oi_lower_cap"]), number(inputs["oi_upper_cap"]))


def _interest(inputs: Inputs, mark: Decimal) -> Decimal | None:
    """Return the open interest as a notional, told as one or as a size."""
    if "open_interest_notional" in inputs:
        return number(inputs["open_interest_notional"])
    return _notional(number(inputs["oi_base"]), mark) if "oi_base" in inputs else None


def _size(inputs: Inputs) -> Decimal:
    size = number(inputs.get("size", 1))
    return -size if inputs.get("side") == "short" else size


def _mark(inputs: Inputs) -> Decimal:
    found = _first(inputs, "mark_price", "index_price", "mark", "entry_price")
    return ONE if found is None else found


def _notional(size: Decimal, price: Decimal) -> Decimal:
    made = account({}, [Position(SYMBOL, size, price, flat())])
    return notional(made.rules.derivatives[SYMBOL], size, price, made.rules.assets[USD].unit)


def _leg(state: Health, symbol: str) -> LegHealth:
    return next(leg for leg in state.legs if leg.symbol == symbol)


def _first(inputs: Inputs, *names: str) -> Decimal | None:
    return next((number(inputs[name]) for name in names if inputs.get(name) is not None), None)


KINDS: dict[str, Callable[[Inputs], Results]] = {
    "initial_margin": margin_requirement,
    "maintenance_margin": margin_requirement,
    "initial_margin_fraction": initial_fraction,
    "maintenance_margin_fraction": maintenance_fraction,
    "portfolio_margin": volatility_shock,
    "collateral_haircut": collateral_haircut,
    "liability_weight": liability_weight,
    "equity_health": equity_health,
    "is_liquidatable": is_liquidatable,
    "risk_rank": risk_rank,
    "bankruptcy_price": bankruptcy,
    "liquidation_limit_price": limit,
    "liquidation_price": liquidation,
    **LENDING,
    **SEIZURES,
    **AUCTIONS,
}
"""The adapter of each kind that the engine has rules for."""

NOT_YET = {
    "partial_size": "liquidations close whole legs, the least part that restores is not sized yet",
    "insurance_delta": "the fund pays shortfalls when they are booked, not fill by fill",
    "insurance_fee_rate": "the liquidation fee does not adapt to the shortage yet",
    "liquidation_fee_rate": "the liquidation fee does not grow with time yet",
    "adl_rank": "counterparties are not deleveraged yet",
    "adl_trigger": "counterparties are not deleveraged yet",
    "adl_overshoot": "counterparties are not deleveraged yet",
    "adl_prorata_fraction": "counterparties are not deleveraged yet",
    "auction_throughput": "how long a chain of auctions takes is not estimated yet",
    "cascade": "what liquidations do to prices is not simulated yet",
    "clearing_payment": "what accounts owe to each other is not cleared yet",
    "debtrank": "what accounts owe to each other is not cleared yet",
    "expected_loss": "losses are not estimated yet",
    "loss_frontier": "losses are not estimated yet",
    "loss_waterfall": "losses beyond the fund stay bad debt, they are not shared yet",
    "merkle_sum": "liabilities are not proved yet",
    "stress_ladder": "books are not stressed yet",
}
"""Why a kind of cases cannot be put to the engine."""
