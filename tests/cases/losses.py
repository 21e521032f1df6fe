"""Who bears what a bankrupt account leaves, as `adapters` has it for margin."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from engine.lending import Side
from engine.loss_sharing import (
    Claims,
    TokenFund,
    cover_result,
    haircut,
    index_delta,
    insolvent_payout,
)
from engine.money import ONE, ZERO
from engine.profile import Collateral, Profit
from engine.stability_pool import (
    Deposit,
    Deposits,
    Penalties,
    gained_by,
    left_of,
    settle_loan,
    take_debt,
)
from engine.waterfall import allocate
from engine.weighted_balance import Worth, given_to_zero, taken_to_zero
from tests.cases.accounts import (
    USD,
    Inputs,
    Position,
    account,
    complement,
    flat,
    number,
)
from tests.cases.defects import Defect
from tests.cases.described import PPM, SYMBOL, Results
from tests.cases.lending import deficit
from tests.cases.units import WAD, of, step_of

PRODUCT = 36
"""Decimals of the stability pool's product."""

INDEX10 = Decimal("1e-10")
"""What Drift keeps indices of deposits to."""


def bad_debts(inputs: Inputs) -> Results:
    """Give who bears a loss, by the rule whose inputs are given."""
    for name, rule in BY_INPUT.items():
        if name in inputs:
            return rule(inputs)
    return deficit(inputs)


def _drift_perp(inputs: Inputs) -> Results:
    """Give what open interest bears through its funding index; a unit stays in the vault."""
    funds = {
        ("fund", "insurance"): max(number(inputs["insurance_vault"]) - PPM, ZERO),
        ("fund", "fees"): number(inputs["fee_pool"]),
    }
    _, shared = allocate(-number(inputs["negative_pnl"]), funds)
    sizes = [number(inputs[f"base_{side}"]) for side in ("long", "short")]
    moved = index_delta(shared, sum(map(abs, sizes), ZERO), PPM)
    if moved is None:
        return {"rejected": True}
    return {
        "social_loss": shared,
        "cum_funding_long": number(inputs["cum_funding_long"]) + moved,
        "cum_funding_short": number(inputs["cum_funding_short"]) - moved,
        "rejected": False,
    }


def _drift_deposits(inputs: Inputs) -> Results:
    """Give by how much the index of deposits falls; without any it stays, and the loss too."""
    loss, index = number(inputs["borrow_loss"]), number(inputs["cumulative_deposit_index"])
    moved = index_delta(loss * index, number(inputs["total_deposits"]), INDEX10)
    return {"index_delta": ZERO if moved is None else moved}


def _derive_payout(inputs: Inputs) -> Results:
    found = insolvent_payout(
        number(inputs["mark_to_market"]),
        number(inputs["maintenance_margin"]),
        *(int(number(inputs[name])) for name in ("elapsed", "length")),
        number(inputs["percent"]),
    )
    return {"payout_to_bidder": found}


def _mango_perp(inputs: Inputs) -> Results:
    """Give who covers the negative result of a perpetual whose base is closed."""
    held, result = number(inputs["liqee_settle_token"]), number(inputs["liqee_perp_pnl"])
    weights = [number(inputs[f"settle_token_{side}_weight"]) for side in ("asset", "liab")]
    price = number(inputs["settle_price"])
    leg = Position(SYMBOL, ONE, ZERO, flat(), cost=-result, settle="SETTLE")
    cash = {"SETTLE": held, "OTHER": number(inputs["liqee_other_health"])}
    with_result, without = (
        account(
            cash,
            legs,
            prices={"SETTLE": price, "OTHER": ONE},
            collateral={
                USD: Collateral(),
                "OTHER": Collateral(),
                "SETTLE": Collateral(haircut=complement(weights[0]), borrow_weight=weights[1]),
            },
            profit=Profit(weight=ZERO),
        ).health
        for legs in ([leg], [])
    )
    worth = Worth(*(price * weight for weight in weights))
    found = cover_result(
        result,
        min(
            taken_to_zero(without.margin_equity, held, worth),
            abs(number(inputs["recurring_settle_limit"])),
        ),
        given_to_zero(with_result.margin_equity, with_result.counted["SETTLE"], worth),
        number(inputs["max_liab_transfer"]),
        price,
        TokenFund(number(inputs["insurance_vault"]), number(inputs["insurance_token_price"])),
    )
    if found is None:
        return {"rejected": True}
    return {
        "liqee_settle_token": held - found.paid,
        "liqee_perp": result + found.paid + found.taken + found.shared,
        "liqor_settle_token": found.paid,
        "liqor_perp": -found.paid - found.taken,
        "liqor_insurance_tokens": found.tokens,
        "socialized_loss": found.shared,
        "rejected": False,
    }


def _percolator(inputs: Inputs) -> Results:
    """Give how claims are cut; percolator counts what its fund paid as missing once more."""
    names = ("principal", "realized", "warming", "insurance", "collateral")
    principal, realized, unvested, fund, assets = (number(inputs[f"sigma_{n}"]) for n in names)
    equity = principal + realized
    found = haircut(Claims(equity, unvested), assets, fund)
    part: Decimal | Defect = found.part
    if found.paid_by_fund:
        part = Defect(
            found.part,
            haircut(Claims(equity, ZERO), assets, ZERO).part,
            f"({equity} − {assets} − {found.paid_by_fund}) ÷ {equity} covers all; "
            f"({equity} − {assets}) ÷ {equity} takes what the fund paid a second time",
        )
    return {
        "burned_warming": found.burned,
        "insurance_draw": found.paid_by_fund,
        "equity_haircut_ratio": part,
    }


# --- Liquity


def loss_waterfall(inputs: Inputs) -> Results:
    """Give who takes a loan over, or what it makes of a deposit that pays for it."""
    if "depositor_initial" in inputs:
        return _depositor(inputs)
    unit = step_of(WAD)
    found = settle_loan(
        Side(of(inputs, "debt", WAD), ONE, unit),
        Side(of(inputs, "coll", WAD), of(inputs, "price_wad", WAD), unit),
        of(inputs, "sp_available", WAD),
        Penalties(of(inputs, "penalty_sp_wad", WAD), of(inputs, "penalty_redist_wad", WAD)),
    )
    names = {
        "debt_offset": found.debt_to_pool,
        "coll_to_sp": found.to_pool,
        "coll_gas_comp": found.to_keeper,
        "debt_redistributed": found.debt_to_others,
        "coll_redistributed": found.to_others,
        "coll_surplus": found.surplus,
    }
    return {name: amount.scaleb(WAD) for name, amount in names.items()}


def _depositor(inputs: Inputs) -> Results:
    product = of(inputs, "P_before", PRODUCT)
    before = Deposits(of(inputs, "total_deposits", WAD), product)
    deposit = Deposit(of(inputs, "depositor_initial", WAD), product, 0, ZERO)
    after = take_debt(before, of(inputs, "debt_to_offset", WAD), of(inputs, "coll_to_add", WAD))
    unit = step_of(WAD)
    return {
        "P_after": after.product.scaleb(PRODUCT),
        "depositor_compounded": left_of(deposit, after, unit).scaleb(WAD),
        "depositor_coll_gain": gained_by(deposit, after, unit).scaleb(WAD),
    }


BY_INPUT: dict[str, Callable[[Inputs], Results]] = {
    "negative_pnl": _drift_perp,
    "borrow_loss": _drift_deposits,
    "mark_to_market": _derive_payout,
    "liqee_perp_pnl": _mango_perp,
    "sigma_principal": _percolator,
}
"""Which rule a case of bad debt is of, by an input that only it has; loans have none of these."""

LOSSES: dict[str, Callable[[Inputs], Results]] = {
    "bad_debt": bad_debts,
    "loss_waterfall": loss_waterfall,
}
"""The adapter of each kind of case about losses."""
