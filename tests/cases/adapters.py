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
    liquidatable,
)
from engine.money import ONE, ZERO, floor_to
from engine.options import volatility_move
from engine.profile import (
    Bracket,
    Collateral,
    Entry,
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
from tests.cases.deleverage import DELEVERAGING
from tests.cases.described import (
    PPM,
    SYMBOL,
    Results,
    caps_of,
    described,
    dydx_rule,
    interest_of,
    leg_of,
    mark_of,
    positions_of,
    rule_of,
    size_of,
    worth_of,
)
from tests.cases.fees import FEES
from tests.cases.lending import LENDING
from tests.cases.losses import LOSSES
from tests.cases.seizures import SEIZURES
from tests.cases.sizes import SIZES

DRIFT_WEIGHT = Decimal("0.0001")
"""What Drift keeps weights and margin ratios to, rounded down."""

# --- requirements


def margin_requirement(inputs: Inputs) -> Results:
    """Give initial and maintenance margin of one position."""
    if "imf_factor" in inputs:
        return _drift_requirement(inputs)
    size, mark = size_of(inputs), mark_of(inputs)
    if "notional" in inputs:
        size, mark = number(inputs["notional"]), ONE
    rule, interest = rule_of(inputs), None
    dydx = {"quote_step", "maintenance_fraction"} & inputs.keys()
    if dydx:
        rule, interest = dydx_rule(inputs), interest_of(inputs, mark)
    made = account({}, [Position(SYMBOL, size, mark, rule)])
    results = {"maintenance_margin": made.health.maintenance}
    if interest is not None and rule.open_interest is not None:
        base = rule.brackets[0].initial_rate or ZERO
        scaled = initial_margin_fraction(base, rule.open_interest, interest, PPM)
        made = account({}, [Position(SYMBOL, size, mark, flat(scaled, step=rule.step))])
    return {**results, "initial_margin": made.entry.requirement}


def _drift_requirement(inputs: Inputs) -> Results:
    """Give the initial margin by Drift, which rounds ratio, notional and product down, each."""
    size, mark = size_of(inputs), mark_of(inputs)
    base, factor = number(inputs["base_im_ratio"]), number(inputs["imf_factor"])
    rate = size_premium(base, factor, abs(size), step=DRIFT_WEIGHT)
    worth = floor_to(worth_of(size, mark), PPM)
    required = RequirementCurve(flat(rate)).initial(Exposure(abs(size), worth, mark))
    return {"initial_margin": floor_to(required, PPM)}


def initial_fraction(inputs: Inputs) -> Results:
    """Give the initial rate as open interest raises it."""
    found = initial_margin_fraction(
        number(inputs["base_imf"]), caps_of(inputs), number(inputs["open_interest_notional"]), PPM
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
        worth = worth_of(number(inputs["total_deposits"]), number(inputs["oracle_price"]))
        scaled = deposits_scale(weight, number(inputs["scale_start"]), worth)
        return {"asset_weight": floor_to(scaled, DRIFT_WEIGHT)}
    size = number(inputs["unrealized_pnl" if "unrealized_pnl" in inputs else "size"])
    found = size_discount(weight, number(inputs["imf_factor"]), size, DRIFT_WEIGHT)
    return {"asset_weight": found}


def liability_weight(inputs: Inputs) -> Results:
    """Give what a unit of an asset that is owed counts."""
    weight = number(inputs["base_liability_weight"])
    if "scale_start" in inputs:
        worth = worth_of(number(inputs["total_borrows"]), number(inputs["oracle_price"]))
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
        made = described(inputs)
    state = made.health
    alone = account({}, positions_of(inputs)).health
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
    made = described(inputs)
    if "close_delta" in inputs:
        delta = number(inputs["close_delta"])
        quote = bankruptcy_quote(inputs["close_market"], delta, *made)
        return {"bankruptcy_quote_delta": quote}
    state, (position,) = made.health, positions_of(inputs)
    price = bankruptcy_price(leg_of(state, position.symbol), state, made.rules)
    results = {"equity": state.equity, "bankruptcy_price": price}
    if price is not None:
        opposite = position._replace(size=-position.size, mark=price)
        results["winner_pnl"] = account({}, [opposite]).health.equity
    return results


def limit(inputs: Inputs) -> Results:
    """Give the limit that widens with distress."""
    rule = Fillable(number(inputs["bankruptcy_adjustment"]), number(inputs["spread_to_mm_ratio"]))
    made = described(inputs, liquidation=LiquidationRule(price=rule))
    state = made.health
    leg = leg_of(state, inputs["close_market"])
    return {"fillable_price": fillable_price(leg, state, made.rules)}


def liquidation(inputs: Inputs) -> Results:
    """Give the mark at which an account is liquidated."""
    size, results = size_of(inputs), {}
    if "leverage" in inputs and "wallet_balance" not in inputs:
        made, results = _opened_at_leverage(inputs, size)
    else:
        made = described(inputs)
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
    at_entry = Exposure(abs(size), worth_of(size, entry), entry)
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
    **SIZES,
    **FEES,
    **DELEVERAGING,
    **LOSSES,
}
"""The adapter of each kind that the engine has rules for."""

NOT_YET = {
    "cascade": "what liquidations do to prices is not simulated yet",
    "clearing_payment": "what accounts owe to each other is not cleared yet",
    "debtrank": "what accounts owe to each other is not cleared yet",
    "expected_loss": "losses are not estimated yet",
    "loss_frontier": "losses are not estimated yet",
    "merkle_sum": "liabilities are not proved yet",
    "stress_ladder": "books are not stressed yet",
}
"""Why a kind of cases cannot be put to the engine."""
