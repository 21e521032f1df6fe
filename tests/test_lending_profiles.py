"""Lending markets in files: faults in words, the shipped ones against their sources, commands."""

import json
from decimal import Decimal as D
from functools import cache
from importlib.resources import files

import pytest

from consumers import profiles
from engine import auction, seizure
from engine.interest import growth, kinked_rate
from engine.lending import TargetLoanToValue, repay_to_loan_to_value
from engine.lending_faults import bonus_at_threshold, most_bonus
from engine.lending_profile import Terms
from engine.money import exact, floor_to
from producers.lending_profile_report import frontier
from tests.commands import said

LENDING = [
    "aave-v3", "aave-v4", "compound-v3", "euler-v2", "liquity-v2", "maker", "morpho-blue",
    "silo-v2",
]  # fmt: skip
SECONDS = 365 * 24 * 3600

# --- what is shipped


@cache
def lending(name):
    found = profiles.read(name).lending
    assert found is not None
    return found


def all_terms(name):
    found = [pool.collateral for pool in lending(name).pools.values() if pool.collateral]
    return found + [
        terms for one in lending(name).categories.values() for terms in one.collateral.values()
    ]


@pytest.mark.parametrize("name", LENDING)
def test_a_shipped_market_is_sound_and_says_what_it_rests_on(name):
    found = profiles.read(name)
    assert found.name == name
    assert not found.requirements
    assert found.trigger.stop_buffer <= D("1e-18")
    assert len(found.sources) >= 2
    assert len(found.leaves_out) >= 4
    assert len(lending(name).pools) >= 2


@exact
def yearly(name, pool, used):
    rule = lending(name).pools[pool]
    year = rule.accrual.period // 1_000_000
    return kinked_rate(rule.rates, D(used)) * (SECONDS // year)


RATES_OF = [
    # 0.028 · 0.9 ÷ 0.9 up to the kink at 0.8, then 0.8 · 0.1 ÷ 0.2: what the snapshot's slopes say.
    ("aave-v3", "WETH", "0.4", "0.014"),
    ("aave-v3", "WETH", "0.9", "0.428"),
    ("aave-v3", "USDC", "0.9", "0.035"),
    ("aave-v3", "USDC", "1", "0.635"),
    ("aave-v3", "WBTC", "1", "3.04"),
    ("aave-v3", "wstETH", "0.5", "0.120227272727272727272727273"),
    ("aave-v4", "WETH", "0.45", "0.075"),
    ("aave-v4", "WETH", "1", "0.15"),
    # A quarter of the rate at the target, that rate, four times it (ConstantsLib.sol).
    ("morpho-blue", "USDC-WBTC-860", "0", "0.01"),
    ("morpho-blue", "USDC-WBTC-860", "0.9", "0.04"),
    ("morpho-blue", "USDC-WBTC-860", "1", "0.16"),
    ("liquity-v2", "BOLD-WETH", "0.5", "0.04"),
]


@pytest.mark.parametrize(("name", "pool", "used", "rate"), RATES_OF)
def test_rates_are_those_of_the_source(name, pool, used, rate):
    assert yearly(name, pool, used) == D(rate)


def test_compounds_annual_rates_are_kept_by_the_second():
    """0.015 + 0.035 · 0.8 + 0.25 · 0.1, suppliers 0.0325 · 0.8 + 0.4 · 0.1; each ÷ 31,536,000."""
    pool = lending("compound-v3").pools["USDC"]
    assert abs(yearly("compound-v3", "USDC", "0.9") - D("0.068")) < D("1e-10")
    with_supply = kinked_rate(pool.supply_rates, D("0.9")) * SECONDS
    assert abs(with_supply - D("0.066")) < D("1e-10")
    assert pool.rates.base == D(15) / 1000 // D("1e-18") * D("1e-18") / SECONDS // D("1e-18") * D(
        "1e-18"
    )
    factors = {"WETH": "0.95", "WBTC": "0.95", "LINK": "0.93", "UNI": "0.93", "COMP": "0.93"}
    for name, factor in factors.items():
        rate = lending("compound-v3").pools[name].collateral.bonus.rate
        assert 0 <= 1 - (1 + rate) * D(factor) < D("1e-18")


# PrimeCluster.s.sol says beside its slopes what they come to in a year of 365.2425 days.
EULER_YIELDS = [
    ("WETH", "0.85", 2.79), ("WETH", "1", 122.55), ("WBTC", "0.85", 2.79),
    ("wstETH", "0.4", 4.60), ("wstETH", "1", 145.96), ("USDC", "0.9", 9.42), ("USDT", "1", 101.38),
]  # fmt: skip


@pytest.mark.parametrize(("pool", "used", "per_cent"), EULER_YIELDS)
def test_eulers_slopes_come_to_the_yields_that_its_script_names(pool, used, per_cent):
    rate = float(kinked_rate(lending("euler-v2").pools[pool].rates, D(used)))
    assert round(((1 + rate) ** 31_556_952 - 1) * 100, 2) == per_cent


def test_makers_fees_are_what_they_are_called_after_a_year():
    for pool, fee in (("DAI-ETH-A", "0.0225"), ("DAI-ETH-C", "0.005"), ("DAI-WBTC-A", "0.0225")):
        rule = lending("maker").pools[pool]
        rate = kinked_rate(rule.rates, D("0.3"))
        grown = growth(rule.accrual, rate, SECONDS * 1_000_000)
        assert abs(grown - D(fee)) < D("1e-18")
    ratios = {"ETH-A": "1.45", "ETH-C": "1.7", "WBTC-A": "1.45"}
    for name, ratio in ratios.items():
        (terms,) = lending("maker").categories[name].collateral.values()
        assert 0 <= 1 - terms.liquidation_threshold * D(ratio) < D("2e-18")


def test_makers_auction_falls_a_hundredth_each_ninety_seconds():
    rule = lending("maker").auction
    top = auction.start_price(D(1000), rule.start_factor)
    assert top == 1200
    assert auction.price_at(rule.decay, top, 89_999_999) == 1200
    assert auction.price_at(rule.decay, top, 270_000_000) == D(1200) * D("0.99") ** 3
    assert not auction.needs_reset(rule.reset, top, D(480), 8_400_000_000)
    assert auction.needs_reset(rule.reset, top, D(480), 8_400_000_001)
    assert auction.needs_reset(rule.reset, top, D("479.99"), 1)
    assert auction.keeper_pay(rule.pay, D(100_000), D("0.01")) == 400


def test_silos_model_without_time_is_a_kinked_curve():
    """r = ri − klow · (ulow − u) below 90 %, ri + kcrit · (u − ucrit) above, by the second."""
    for pool, ri, kcrit in (("WETH", 1744038559, 7927447996), ("USDC", 4249112126, 14079147641)):
        curve = lending("silo-v2").pools[pool].rates
        assert kinked_rate(curve, D(0)) == 0
        assert abs(kinked_rate(curve, D("0.9")).scaleb(18) - ri) <= 1
        assert abs(kinked_rate(curve, D(1)).scaleb(18) - ri - kcrit // 10) <= 1


def test_silo_repays_to_its_target_or_all():
    """(91 − 0.88 · 100) ÷ (1 − 0.88 · 1.04) = 35.37…; at 99.5 that would be more than 90 %."""
    rule = lending("silo-v2").repay
    assert isinstance(rule, TargetLoanToValue)
    part = repay_to_loan_to_value(rule, D(91), D(100), D("0.04"), D("0.0001"))
    assert part == D("35.3773")
    assert repay_to_loan_to_value(rule, D("99.5"), D(100), D("0.04")) == D("99.5")


def test_morphos_bonus_follows_from_the_threshold():
    """1 ÷ (1 − 0.3 · (1 − LLTV)): 1 ÷ 0.958, 1 ÷ 0.9745, 1 ÷ 0.9895."""
    expected = {
        "USDC-WBTC-860": "0.043841336116910229",
        "WETH-WBTC-915": "0.026167265264238070",
        "WETH-wstETH-965": "0.010611419909044972",
    }
    for name, bonus in expected.items():
        (terms,) = lending("morpho-blue").categories[name].collateral.values()
        assert bonus_at_threshold(terms.bonus, terms.liquidation_threshold) == D(bonus)


def test_the_most_bonus_is_exact_in_the_context_of_whoever_asks():
    """1 ÷ (1 − 0.15) − 1, up: 30 decimals are more than the usual context of Python holds."""
    bonus = seizure.HealthDiscount(D("0.15"), step=D("1e-30"))
    assert most_bonus(bonus, D("0.8")) == D("0.176470588235294117647058823530")


def test_aaves_bonus_grows_from_a_fifth_as_health_falls():
    """1 % at a health factor of 1, 5 % from 0.7 down, and half way between at 0.85."""
    bonus = lending("aave-v4").pools["WETH"].collateral.bonus
    found = [seizure.bonus_by_health(bonus, D(at)) for at in ("1", "0.85", "0.7", "0.5")]
    assert found == [D("0.01"), D("0.03"), D("0.05"), D("0.05")]


def test_liquitys_redistribution_is_left_out_for_what_it_is():
    assert any("never heals" in line for line in profiles.read("liquity-v2").leaves_out)
    (terms,) = lending("liquity-v2").categories["BOLD-wstETH"].collateral.values()
    # The penalty of 20 % with a threshold of 1 ÷ 1.2 would be as much as there is.
    assert terms.liquidation_threshold * D("1.2") == D("0.9999999999999999996")
    assert terms.bonus.rate == D("0.05")


@pytest.mark.parametrize("name", LENDING)
def test_a_loan_is_toxic_just_above_the_frontier_and_not_below_it(name):
    """Of a debt against a collateral of 1: a repayment lowers health, or does not."""
    for terms in all_terms(name):
        limit = frontier(terms)
        assert terms.liquidation_threshold <= limit <= 1
        # A bonus in steps of a basis point is up to one behind.
        step = getattr(terms.bonus, "step", D("1e-9")) + D("1e-9")
        assert not is_toxic(terms, limit - D("1e-9"))
        assert is_toxic(terms, limit + step)


@exact
def is_toxic(terms: Terms, loan_to_value: D) -> bool:
    threshold = terms.liquidation_threshold
    state = seizure.Backing(threshold, loan_to_value)
    match terms.bonus:
        case seizure.HealthBonus():
            health = floor_to(threshold, D("1e-18"), loan_to_value)
            bonus = seizure.bonus_by_health(terms.bonus, health)
        case seizure.HealthDiscount():
            factor = seizure.discount_factor(terms.bonus, state)
            bonus = floor_to(D(1), D("1e-18"), factor) - 1
        case _:
            bonus = most_bonus(terms.bonus, threshold)
    return seizure.toxic(state, threshold, bonus)


# --- commands


def test_list_says_how_a_market_liquidates():
    text = said("profiles", "list")
    assert all(name in text for name in LENDING)
    assert "7 pools: close" in text
    assert "6 pools: auctions" in text


@pytest.mark.parametrize("name", LENDING)
def test_show_prints_pools_terms_and_rules(name):
    text = said("profiles", "show", name)
    for title in ("Pools", "Collateral of loans", "Loans", "Sources:", "Leaves out:"):
        assert f"{title}" in text
    assert all(pool in text for pool in lending(name).pools)
    assert json.loads(said("profiles", "show", name, "--json"))["lending"]["pools"]


def row(text: str, name: str) -> list[str]:
    """Return the cells of the first row that begins with a name."""
    (found, *_) = [
        line for line in text.splitlines() if line.removeprefix("│ ").startswith(f"{name} ")
    ]
    return [cell.strip() for cell in found.strip("│").split("│")]


def test_show_prints_rates_bonuses_and_what_is_toxic():
    text = said("profiles", "show", "aave-v3", "WETH")
    assert row(text, "WETH") == [
        "WETH", "WETH", "0.00", "1.75", "2.80", "42.80", "82.80", "15.00", "1.8M", "1.4M",
    ]  # fmt: skip
    terms = text.partition("Collateral of loans")[2]
    assert row(terms, "WETH") == ["WETH", "—", "80.50", "83.00", "5.00", "5.00", "95.23", "10.00"]
    assert "wstETH │ wstETH" not in text
    assert "50 % of all debt; all of one at a health factor ≤" in text
    assert "by 1 % each 90 s" in said("profiles", "show", "maker")
    assert "the lenders, by their index" in said("profiles", "show", "morpho-blue")
    assert row(said("profiles", "show", "compound-v3"), "  supply")[2:4] == ["0.00", "1.62"]


def test_show_says_what_the_sale_of_collateral_weighs(tmp_path):
    shipped = files("deploy").joinpath("profiles/liquity-v2.toml").read_text()
    assert "is sold to" not in said("profiles", "show", "liquity-v2")
    deep = shipped.replace("rate = 0.05 } }", "rate = 0.05 }, depth = 40_000_000 }")
    (tmp_path / "deep.toml").write_text(deep)
    text = " ".join(said("profiles", "show", tmp_path / "deep.toml").replace("│", " ").split())
    assert "WETH (BOLD-WETH) is sold to a pool of 40,000,000 BOLD: in what is toxic" in text


def test_check_refuses_a_toxic_rule_in_its_words(tmp_path):
    """Liquity's redistribution as it is: no more than there is, at the threshold; a bit more, and a
    liquidation there lowers health."""
    shipped = files("deploy").joinpath("profiles/liquity-v2.toml").read_text()
    toxic = shipped.replace("rate = 0.05 }", "rate = 0.21 }")
    assert toxic != shipped
    (tmp_path / "toxic.toml").write_text(toxic)
    text = said("profiles", "check", tmp_path / "toxic.toml", code=1)
    assert (
        "toxic.toml: lending: categories BOLD-wstETH: collateral wstETH: liquidation_threshold "
        "0.833333333333333333 · (1 + bonus 0.21) = 1.008334, above 1: a liquidation at the "
        "threshold lowers health"
    ) in text


def test_diff_names_what_differs_between_markets():
    text = said("profiles", "diff", "liquity-v2", "maker")
    assert "lending.bad_debt.charge" in text
