"""Loans under every lending market that is shipped: opened, through their threshold, and fitted."""

from decimal import Decimal as D
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec import structs

from consumers import profiles, rules
from consumers.toml_file import FileFaults
from engine import events as e
from engine.decisions import (
    Anomaly,
    AuctionStarted,
    CollateralLiquidation,
    LiquidationStarted,
    Refused,
)
from engine.instruments import Asset
from engine.interest import kinked_rate
from engine.profile import RiskProfile
from producers.lending_profile_report import frontier
from tests.loan_story import LoanStory
from tests.story import of


@cache
def lending(name):
    found = profiles.read(name).lending
    assert found is not None
    return found


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
def test_a_fall_through_threshold_and_debt_leaves_bad_debt_to_whom_the_venue_says(loan):
    """At half the price: all collateral goes, and what it leaves short is for lenders at once, or
    outstanding; nobody has a fund or a reserve here."""
    story = told(loan)
    pool = story.engine.rules.pool(loan.pool).asset, loan.pool
    lent = story.engine.markets.lending[loan.pool].supply.value
    price = D(loan.price) / 2
    decided = story.price(story.engine.rules.pool(loan.collateral).asset, str(price), "index")
    for order in of(CollateralLiquidation, decided):
        story.seized(order)
    for auction in of(AuctionStarted, decided):
        story.tell(
            e.AuctionTaken,
            account="owner",
            margin=loan.margin,
            auction_id=auction.auction_id,
            amount=auction.lot,
            paid=auction.lot * auction.start_price,
        )
    ledger, state = story.engine.ledger, story.engine.markets.lending[loan.pool]
    lost = ledger.shortfall[pool]
    assert D(loan.debt) / 20 < lost < D(loan.debt) / 2
    if loan.profile in ("morpho-blue", "euler-v2"):
        assert (ledger.socialised[pool], state.deficit) == (lost, 0)
        assert state.supply.value < lent
    else:
        assert (ledger.bad_debt[pool], state.deficit) == (lost, lost)
        assert state.supply.value >= lent
    assert state.borrowed == 0
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
    assert "lending pools USDC: asset DAI, and it was USDC" in said(changed("USDC", asset="DAI"))
    assert not of(Refused, story.tell(e.ProfileChanged, profile=changed("ether", asset="WETH")))
    listed = Asset("ether", 8, D(10) ** 6)
    assert refusal(story, e.InstrumentListed, instrument=listed) == "ether is a pool of WETH"


def without(found: RiskProfile) -> RiskProfile:
    """Return a profile without its pool of USDC."""
    pools = {name: rule for name, rule in found.lending.pools.items() if name != "USDC"}
    return structs.replace(found, lending=structs.replace(found.lending, pools=pools))
