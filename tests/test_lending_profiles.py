"""Lending markets in files: faults in words, the shipped ones against their sources, commands."""

import json
from decimal import Decimal as D
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner
from msgspec import structs

from consumers import profiles, rules
from consumers.cli import main
from consumers.toml_file import FileFaults
from engine import auction, seizure
from engine import events as e
from engine.decisions import (
    Anomaly,
    AuctionStarted,
    CollateralLiquidation,
    LiquidationStarted,
    Refused,
)
from engine.instruments import Asset
from engine.interest import growth, kinked_rate
from engine.lending import TargetLoanToValue, repay_to_loan_to_value
from engine.lending_faults import bonus_at_threshold, most_bonus
from engine.lending_profile import Terms
from engine.money import exact, floor_to
from engine.profile import RiskProfile
from producers.lending_profile_report import frontier
from tests.loan_story import LoanStory
from tests.story import of

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


# --- each market with a loan that falls through its threshold


class Loan(NamedTuple):
    """A supply of `backing` and a debt to `pool`, then another price of what backs it; what is to
    be repaid, and the collateral seized for it."""

    profile: str
    collateral: str
    backing: str
    price: str
    pool: str
    debt: str
    falls_to: str
    repay: str
    seize: str
    margin: str = "cross"
    category: str = ""


LOANS = [
    # Health 0.996: half of all debt; 7,500 · 1.05 ÷ 1,800.
    Loan("aave-v3", "WETH", "10", "2000", "USDC", "15000", "1800", "7500", "4.375"),
    # (1.05 · 15,000 − 14,960) ÷ (1.05 − 0.8 · 1.0103), at a bonus of 1.03 %.
    Loan("aave-v4", "WETH", "10", "2000", "USDC", "15000", "1870", "3267.7036", "1.765434"),
    # All collateral at its price times 0.95; the 860 beyond the debt are the account's.
    Loan("compound-v3", "WETH", "10", "2100", "USDC", "17000", "1880", "17860", "10"),
    # Health 15,980 ÷ 16,000: collateral at that part of its price.
    Loan("euler-v2", "WETH", "10", "2000", "USDC", "16000", "1880", "16000", "8.521289",
         category="USDC"),
    Loan("liquity-v2", "WETH", "10", "2000", "BOLD-WETH", "18000", "1970", "18000", "9.593909",
         "isolated:BOLD-WETH"),
    Loan("morpho-blue", "WBTC", "1", "60000", "USDC-WBTC-860", "50000", "58000", "50000",
         "0.899863", "isolated:USDC-WBTC-860"),
    # (16,900 − 0.88 · 18,700) ÷ (1 − 0.88 · 1.04).
    Loan("silo-v2", "WETH", "10", "2000", "USDC", "16900", "1870", "5235.849", "2.911916",
         "isolated:USDC"),
    # On auction: due 20,000, to raise 22,600, at 1.2 times the price.
    Loan("maker", "ETH-A", "10", "3000", "DAI-ETH-A", "20000", "2890", "20000", "10",
         "isolated:ETH-A"),
]  # fmt: skip


def told(loan: Loan) -> LoanStory:
    """Tell how the loan came about."""
    story, found = LoanStory(), profiles.read(loan.profile)
    pools = lending(loan.profile).pools
    assets = {rule.asset for rule in pools.values()} | {found.numeraire}
    for asset in sorted(assets):
        listed = Asset(asset, 8, D(10) ** 10, 8)
        assert not of(Refused, story.tell(e.InstrumentListed, instrument=listed))
    assert not of(Refused, story.tell(e.ProfileChanged, profile=found))
    owed = pools[loan.pool].asset
    if owed != found.numeraire:
        story.price(owed, "1", "index")
    story.price(pools[loan.collateral].asset, loan.price, "index")
    story.supply("lender", loan.pool, "1000000")
    story.supply("owner", loan.collateral, loan.backing, margin=loan.margin)
    if loan.category:
        story.tell(e.CategoryChosen, account="owner", category=loan.category)
    about = {"account": "owner", "pool": loan.pool, "margin": loan.margin}
    assert not of(Anomaly, story.tell(e.Borrow, amount=D(loan.debt), **about))
    story.tell(e.Withdrawal, account="owner", asset=owed, amount=D(loan.debt))
    return story


@pytest.mark.parametrize("loan", LOANS, ids=[loan.profile for loan in LOANS])
def test_a_loan_below_its_threshold_is_liquidated_as_the_venue_would(loan):
    story = told(loan)
    collateral = lending(loan.profile).pools[loan.collateral].asset
    decided = story.price(collateral, loan.falls_to, "index")
    assert len(of(LiquidationStarted, decided)) == 1
    if loan.profile == "maker":
        (started,) = of(AuctionStarted, decided)
        assert (started.due, started.lot) == (D(loan.repay), D(loan.seize))
        assert (started.debt, started.start_price) == (D("22600"), D("3468"))
        return
    (order,) = of(CollateralLiquidation, decided)
    assert not order.toxic
    assert abs(order.repay - D(loan.repay)) < D("0.001")
    assert abs(order.seize - D(loan.seize)) < D("0.000001")
    assert story.seized(order)
    group = story.engine.accounts["owner"].groups[loan.margin]
    assert group.liquidation is None
    assert not of(Refused, story.decided)


@pytest.mark.parametrize("loan", LOANS, ids=[loan.profile for loan in LOANS])
def test_a_loan_beyond_what_it_may_open_at_is_told(loan):
    """A hundredth more than the loan-to-value allows, of the same collateral."""
    story = told(loan)
    rule = lending(loan.profile)
    category = rule.category_of(loan.margin, loan.category)
    terms = rule.terms_of(loan.collateral, category)
    room = D(loan.backing) * D(loan.price) * terms.loan_to_value - D(loan.debt)
    about = {"account": "owner", "pool": loan.pool, "margin": loan.margin}
    (beyond,) = of(Anomaly, story.tell(e.Borrow, amount=round(room + D("0.01"), 2), **about))
    assert beyond.kind == "beyond_opening"


def page_example() -> LoanStory:
    """Tell the market of docs/profiles.md, with its one loan."""
    page = (Path(__file__).parents[1] / "docs" / "profiles.md").read_text()
    text = page.partition("#### A market, worked")[2].partition("```toml\n")[2].partition("```")[0]
    story = LoanStory()
    for asset in ("USD", "USDC", "WETH"):
        story.tell(e.InstrumentListed, instrument=Asset(asset, 6, D(10) ** 9))
    story.tell(e.ProfileChanged, profile=profiles.parse(text.encode(), "profiles.md"))
    story.price("USDC", "1", "index")
    story.price("WETH", "2000", "index")
    story.supply("lender", "USDC", "20000")
    story.supply("owner", "WETH", "10")
    story.borrow("owner", "USDC", "15000")
    return story


def test_the_page_that_explains_lending_computes_as_the_engine_does():
    story = page_example()
    pool = story.engine.markets.lending["USDC"]
    assert round(pool.borrow.rate, 12) == D("0.0475")
    assert kinked_rate(story.engine.rules.pool("USDC").rates, D("0.9")) == D("0.1")
    assert not of(Anomaly, story.decided)
    assert not of(LiquidationStarted, story.price("WETH", "1875.01", "index"))
    (order,) = of(CollateralLiquidation, story.price("WETH", "1800", "index"))
    assert (round(order.health_factor, 6), round(order.bonus, 6)) == (D("0.96"), D("0.07"))
    assert (round(order.repay, 2), round(order.seize, 3)) == (D("8606.56"), D("5.116"))
    assert not order.toxic
    story.seized(order)
    supplied, owed = story.loan("owner", "WETH")[0], story.loan("owner", "USDC")[1]
    assert (round(supplied, 3), round(owed, 2)) == (D("4.884"), D("6393.44"))
    terms = story.engine.rules.pool("WETH").collateral
    assert round(frontier(terms), 3) == D("0.909")
    assert round(D(15000) / 10 / frontier(terms)) == 1650


# --- commands


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, ["profiles", *(str(part) for part in arguments)])
    assert result.exit_code == code, result.output
    if "--json" not in arguments:
        assert all(len(line) <= 100 for line in result.stdout.splitlines())
    return result.stdout if code == 0 else result.stderr


def test_list_says_how_a_market_liquidates():
    text = run("list")
    assert all(name in text for name in LENDING)
    assert "7 pools: close" in text
    assert "6 pools: auctions" in text


@pytest.mark.parametrize("name", LENDING)
def test_show_prints_pools_terms_and_rules(name):
    text = run("show", name)
    for title in ("Pools", "Collateral of loans", "Loans", "Sources:", "Leaves out:"):
        assert f"{title}" in text
    assert all(pool in text for pool in lending(name).pools)
    assert json.loads(run("show", name, "--json"))["lending"]["pools"]


def row(text: str, name: str) -> list[str]:
    """Return the cells of the first row that begins with a name."""
    (found, *_) = [
        line for line in text.splitlines() if line.removeprefix("│ ").startswith(f"{name} ")
    ]
    return [cell.strip() for cell in found.strip("│").split("│")]


def test_show_prints_rates_bonuses_and_what_is_toxic():
    text = run("show", "aave-v3", "WETH")
    assert row(text, "WETH") == [
        "WETH", "WETH", "0.00", "1.75", "2.80", "42.80", "82.80", "15.00", "1.8M", "1.4M",
    ]  # fmt: skip
    terms = text.partition("Collateral of loans")[2]
    assert row(terms, "WETH") == ["WETH", "—", "80.50", "83.00", "5.00", "5.00", "95.23", "10.00"]
    assert "wstETH │ wstETH" not in text
    assert "50 % of all debt; all of one at a health factor ≤" in text
    assert "by 1 % each 90 s" in run("show", "maker")
    assert "the lenders, by their index" in run("show", "morpho-blue")
    assert row(run("show", "compound-v3"), "  supply")[2:4] == ["0.00", "1.62"]


def test_check_refuses_a_toxic_rule_in_its_words(tmp_path):
    """Liquity's redistribution as it is: no more than there is, at the threshold; a bit more, and a
    liquidation there lowers health."""
    shipped = files("deploy").joinpath("profiles/liquity-v2.toml").read_text()
    toxic = shipped.replace("rate = 0.05 }", "rate = 0.21 }")
    assert toxic != shipped
    (tmp_path / "toxic.toml").write_text(toxic)
    text = run("check", tmp_path / "toxic.toml", code=1)
    assert (
        "toxic.toml: lending: categories BOLD-wstETH: collateral wstETH: liquidation_threshold "
        "0.833333333333333333 · (1 + bonus 0.21) = 1.008334, above 1: a liquidation at the "
        "threshold lowers health"
    ) in text


def test_diff_names_what_differs_between_markets():
    text = run("diff", "liquity-v2", "maker")
    assert "lending.bad_debt.charge" in text


# --- in a rules file


RULES = """
profile = "euler-v2"
[[assets]]
name = "USD"
decimals = 6
largest = 1_000_000_000
[[assets]]
name = "USDC"
decimals = 6
largest = 1_000_000_000
[[assets]]
name = "WETH"
decimals = 8
largest = 1_000_000
"""


def test_a_rules_file_keeps_the_pools_of_what_it_lists_and_lists_assets_first():
    found = rules.parse(RULES.encode(), "r.toml")
    market = found.profile.lending
    assert set(market.pools) == {"WETH", "USDC"}
    assert set(market.categories) == {"WETH", "USDC"}
    assert set(market.categories["USDC"].collateral) == {"WETH"}
    told = [type(event).__name__ for event in rules.events(found, time=1)]
    assert told == ["InstrumentListed"] * 3 + ["ProfileChanged"]
    story = LoanStory()
    for event in rules.events(found, time=1):
        assert not of(Refused, story.machine.apply(event))


def test_a_rules_file_is_told_of_a_pool_whose_asset_it_does_not_list():
    pools = '[profile.lending.pools.WBTC]\nasset = "WBTC"\n'
    head = '[profile]\nname = "x"\nnumeraire = "USD"\nconversion = ["USD"]\n'
    text = RULES.replace('profile = "euler-v2"', "") + head + "collateral = { USD = {} }\n" + pools
    with pytest.raises(FileFaults, match=r"lending\.pools\.WBTC\.asset: WBTC is not among the"):
        rules.parse(text.encode(), "r.toml")


def refusal(story: LoanStory, kind: type, **fields: object) -> str:
    (found,) = of(Refused, story.tell(kind, **fields))
    return found.detail


def test_pools_that_contradict_what_is_listed_or_held_are_refused():
    story, found = told(LOANS[0]), profiles.read("aave-v3")

    def changed(name: str, **fields: object) -> RiskProfile:
        pools = {
            **found.lending.pools,
            name: structs.replace(found.lending.pools["WETH"], **fields),
        }
        return structs.replace(found, lending=structs.replace(found.lending, pools=pools))

    def said(profile: RiskProfile) -> str:
        return refusal(story, e.ProfileChanged, profile=profile)

    assert said(changed("new", asset="XRP")) == "lending pools new: asset XRP is not listed"
    assert said(changed("USD", asset="DAI")) == (
        "lending pools USD: USD is listed, and its asset is DAI"
    )
    assert said(without(found)) == "lending pools USDC: missing, and it holds USDC"
    assert "lending pools USDC: asset DAI, and it holds USDC" in said(changed("USDC", asset="DAI"))
    assert not of(Refused, story.tell(e.ProfileChanged, profile=changed("ether", asset="WETH")))
    listed = Asset("ether", 8, D(10) ** 6)
    assert refusal(story, e.InstrumentListed, instrument=listed) == "ether is a pool of WETH"


def without(found: RiskProfile) -> RiskProfile:
    """Return a profile without its pool of USDC."""
    pools = {name: rule for name, rule in found.lending.pools.items() if name != "USDC"}
    return structs.replace(found, lending=structs.replace(found.lending, pools=pools))
