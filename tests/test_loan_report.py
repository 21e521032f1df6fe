"""Loans as operators see them: `liquidator inspect` and `explain` of a lending market."""

import json
import re
from decimal import Decimal as D
from pathlib import Path
from typing import Any

from consumers import profiles
from engine import events as e
from engine.instruments import Asset
from tests.commands import said
from tests.small_venue import write


class Teller:
    """Tells events with times in seconds, numbering each account's and each price's."""

    def __init__(self, profile: str, **prices: int) -> None:
        self.told: list[tuple[int, e.Event]] = []
        self._sequences: dict[str, int] = {}
        rules = profiles.read(profile)
        assert rules.lending is not None
        assets = {rule.asset for rule in rules.lending.pools.values()} | {rules.numeraire}
        for name in sorted(assets):
            self.add(e.InstrumentListed, 1, instrument=Asset(name, 8, D(10) ** 10))
        self.add(e.ProfileChanged, 1, profile=rules)
        for asset, price in prices.items():
            self.price(1, asset, price)

    def add(self, kind: Any, second: int, /, **fields: Any) -> None:
        """Tell one event."""
        if "sequence" in kind.__struct_fields__:
            series = fields.get("account") or f"{kind.__name__} {fields.get('symbol')}"
            fields["sequence"] = self._sequences[series] = self._sequences.get(series, 0) + 1
        self.told.append((0, kind(time=second * 1_000_000, **fields)))

    def price(self, second: int, asset: str, price: int) -> None:
        """Quote a price."""
        about = {"symbol": asset, "kind": "index", "price": D(price), "source": "venue"}
        self.add(e.PriceUpdate, second, **about)

    def supply(self, account: str, pool: str, asset: str, amount: int, **of: str) -> None:
        """Deposit and supply an amount."""
        self.add(e.Deposit, 2, account=account, asset=asset, amount=D(amount))
        self.add(e.Supplied, 2, account=account, pool=pool, amount=D(amount), **of)

    def borrow(self, account: str, pool: str, asset: str, amount: int, **of: str) -> None:
        """Borrow an amount and take it away."""
        self.add(e.Borrow, 3, account=account, pool=pool, amount=D(amount), **of)
        self.add(e.Withdrawal, 3, account=account, asset=asset, amount=D(amount))


def fallen() -> Teller:
    """Return how a loan is opened, and its collateral falls below what it must count."""
    teller = Teller("aave-v3", WETH=2000, USDC=1)
    teller.supply("lender", "USDC", "USDC", 20000)
    teller.supply("bob", "WETH", "WETH", 10)
    teller.borrow("bob", "USDC", "USDC", 12000)
    teller.price(4, "WETH", 1400)
    return teller


def test_inspect_shows_loans_pools_and_live_seizures(tmp_path: Path) -> None:
    path = write(tmp_path / "log", fallen().told)
    text = said("inspect", "--log", path)
    assert re.search(r"│ USDC │ +20,000.\d\d │ +12,000.\d\d │ +60.00 % │ +8,000.00 │", text)
    assert re.search(r"│ below 1 +│ +12,000.\d\d │ 100.0% │", text)
    assert "Seizures live: 1; auctions: 0." in text
    assert re.search(r"│ bob +│ cross +│ liquidating │.*│ 0.9683 │", text)
    bob = said("inspect", "--log", path, "bob")
    assert "Health factor 0.9683" in bob
    assert re.search(r"│ bob:1:1:USDC │ +6,000.\d+ │ +0 │ 4.49999999 │ +WETH │", bob)
    found = json.loads(said("inspect", "--log", path, "bob", "--json"))
    (order,) = found["groups"][0]["liquidation"]["orders"]
    (planned,) = found["groups"][0]["lending"]["seizures"]
    assert (order["collateral"], order["seize"]) == ("WETH", planned["seize"])
    book = json.loads(said("inspect", "--log", path, "--json"))
    pool = book["shards"][0]["pools"]["USDC"]
    assert (pool["cash"], pool["deficit"]) == ("8000", "0")
    assert book["shards"][0]["loans"]["seizures"] == {"USDC": 1}


def test_explain_tells_how_a_seizure_came_about(tmp_path: Path) -> None:
    path = write(tmp_path / "log", fallen().told)
    flat = re.sub(r"\s+", " ", said("explain", "--log", path, "bob:1:1:USDC"))
    assert "Seizure bob:1:1:USDC: repay 6,000" in flat
    assert "│ supplied to WETH │ counts × 0.83 │ 10 │" in flat
    assert "WETH: supplied 10 × price 1,400 = 14,000 USD; × threshold 0.83" in flat
    assert "Amount and collateral of the seizure" in flat
    found = json.loads(said("explain", "--log", path, "bob:1:1:USDC", "--json"))
    assert found["order"]["type"] == "CollateralLiquidation"
    assert found["arithmetic"]["repayment"] == "close_factor"


def test_a_loan_that_is_lost_is_told_to_its_end(tmp_path: Path) -> None:
    """Half is repaid as asked; then the collateral falls so far that all of it pays a part."""
    teller = fallen()
    about = {"account": "bob", "margin": "cross", "pool": "USDC", "collateral": "WETH"}
    first = {"repaid": D("6000.00000444"), "seized": D("4.49999999"), "fee": D("0.02142858")}
    # 5.50000001 · 700 ÷ 1.05, up as Aave rounds it.
    rest = {"repaid": D("3666.66667334"), "seized": D("5.50000001"), "fee": D("0.02619048")}
    teller.add(e.FundMoved, 4, shard=0, asset="USDC", amount=D(1000))
    teller.add(e.Seized, 5, **about, **first, order_id="bob:1:1:USDC")
    teller.price(6, "WETH", 700)
    teller.add(e.Seized, 7, **about, **rest, order_id="bob:2:1:USDC")
    path = write(tmp_path / "log", teller.told)
    flat = re.sub(r"\s+", " ", said("explain", "--log", path, "bob:2:1:USDC"))
    assert "repay 3,666.66667334 to USDC for 5.50000001 of WETH, bonus 0.05" in flat
    assert "seized: all that is supplied, 5.50000001 WETH × price 700 =" in flat
    lost, debt = (
        D(x.replace(",", ""))
        for x in re.findall(r"shortfall ([\d,.]+) USDC = fund 1,000 \+ bad debt ([\d,.]+)\.", flat)[
            0
        ]
    )
    assert lost == debt + 1000
    # 6,000 were left, and some interest.
    assert D("2333.33") < lost < D("2333.34")
    text = said("replay", path)
    assert re.search(
        r"│ USDC +│ USDC +│ +2 │ +9,666.67 │ +2,333.33 │ +1,000.00 │ +1,333.33 │", text
    )
    book = said("inspect", "--log", path)
    assert re.search(r"│ USDC +│ USDC +│ +2,333.33 │ +1,000.00 │ +1,333.33 │ +0 │", book)
    assert "Given up of its debt to USDC: 2,333.3333" in said("inspect", "--log", path, "bob")


def test_an_auction_is_shown_and_explained(tmp_path: Path) -> None:
    teller, of = Teller("maker", WETH=2200), {"margin": "isolated:ETH-A"}
    teller.supply("lender", "DAI-ETH-A", "DAI", 100000)
    teller.supply("bob", "ETH-A", "WETH", 20, **of)
    teller.borrow("bob", "DAI-ETH-A", "DAI", 30000, **of)
    teller.price(4, "WETH", 2000)
    path = write(tmp_path / "log", teller.told)
    bob = said("inspect", "--log", path, "bob")
    # 30,000 and a little interest, and 13 % of that; from 2,000 · 1.2.
    assert re.search(r"│ bob:1:1:DAI-ETH-A │ +20 │ +ETH-A │ 33,900.\d\d │ +2,400 │", bob)
    book = said("inspect", "--log", path)
    assert "Seizures live: 0; auctions: 1." in re.sub(r"\s+", " ", book)
    assert re.search(r"│ DAI-ETH-A │ 100,000.\d\d │ +0 │ .* │ +30,000.\d\d │", book)
    assert re.search(r"│ bob +│ isolated:\S+ +│ liquidating │", book)
    told_of = re.sub(r"\s+", " ", said("explain", "--log", path, "bob:1:1:DAI-ETH-A"))
    assert "Auction bob:1:1:DAI-ETH-A: 20 of ETH-A for 33,900" in told_of
    # The lot and the debt are the auction's by the end of the event.
    assert "│ owed to DAI-ETH-A │ counts × 1 │ 30,000.00002118 │" in told_of
    taken = {"account": "bob", "auction_id": "bob:1:1:DAI-ETH-A", "margin": "isolated:ETH-A"}
    teller.add(e.AuctionTaken, 5, **taken, amount=D(10), paid=D(24000))
    teller.add(e.AuctionTaken, 6, **taken, amount=D(10), paid=D(5000))
    ended = write(tmp_path / "ended", teller.told)
    told_of = re.sub(r"\s+", " ", said("explain", "--log", ended, "bob:1:1:DAI-ETH-A"))
    # 30,000 were due, 29,000 came.
    assert "sold_out, 0 returned," in told_of
    assert "1,000.00002118 uncovered" in told_of
    assert re.search(r"DAI-ETH-A: shortfall 1,000.0000\d* DAI = fund 0", told_of)
    assert re.search(r"│ DAI-ETH-A │ DAI +│ +1 │ +29,000.00 │ +1,000.00 │", said("replay", ended))
