"""A margin group's loans under a profile of its own, at prices, and what is planned for it."""

from decimal import Decimal as D
from typing import Any

from engine.decisions import MarkUsed
from engine.holdings import Holdings, Loan
from engine.instruments import Asset
from engine.lending_profile import Lending, PoolRule, Terms
from engine.liquidation import Auction
from engine.margin import Health, health
from engine.markets import Markets
from engine.money import plain
from engine.pools import LendingPool
from engine.profile import Collateral, RiskProfile
from engine.recourse import lost
from engine.repayment import has_pair, plan_auction, plan_seizures
from engine.rules import Rules
from engine.seizure import FixedBonus

USD = Asset("USD", 2, D(10) ** 12)
ETH = Asset("ETH", 4, D(10) ** 9)
BTC = Asset("BTC", 6, D(10) ** 9)
FIXED = FixedBonus(D("0.08"))


class Account:
    """A group's loans under a profile, at prices, and what is planned for it."""

    def __init__(
        self,
        supplied: dict[str, str],
        owed: dict[str, str],
        prices: dict[str, str],
        *,
        terms: dict[str, Terms] | None = None,
        collateral: dict[str, Collateral] | None = None,
        cash: dict[str, str] | None = None,
        pool_cash: str = "1000000",
        **rules: Any,
    ) -> None:
        given = {name: Terms(D("0.7"), D("0.8"), FIXED) for name in ("ETH", "BTC", "USD")}
        given.update(terms or {})
        fields = rules.pop("pool", {})
        self.rules = Rules()
        for asset in (USD, ETH, BTC):
            self.rules.list_instrument(asset)
        pools = {name: PoolRule(name, collateral=given[name], **fields) for name in given}
        self.rules.put_in_force(
            RiskProfile(
                name="loans",
                numeraire="USD",
                collateral=collateral or {name: Collateral() for name in given},
                conversion=("USD", "ETH", "BTC"),
                lending=Lending(pools, **rules),
            )
        )
        self.markets = Markets()
        for asset, price in prices.items():
            self.markets.prices[asset, "index"] = MarkUsed(asset, "index", D(price), "venue", 0)
        for name in given:
            self.markets.lending[name] = LendingPool(cash=D(pool_cash))
        loans = {
            name: Loan(D(supplied.get(name, "0")), D(owed.get(name, "0")))
            for name in sorted({*supplied, *owed})
        }
        balances = {asset: D(amount) for asset, amount in (cash or {}).items()}
        self.holdings = Holdings(balances, {}, {}, loans, "")

    @property
    def state(self) -> Health:
        """The group's health."""
        found = health(self.holdings, self.rules, self.markets)
        assert found is not None
        return found

    def seizures(self) -> list[Any]:
        """What would be seized."""
        return plan_seizures(self.state, self.holdings, self.rules, self.markets)

    def seizure(self) -> tuple[str, str]:
        """What the one seizure repays and takes."""
        (found,) = self.seizures()
        return f"{plain(found.repay)} {found.pool}", f"{plain(found.seize)} {found.collateral}"

    def auction(self, *live: Auction) -> Any:
        """What would go on auction."""
        return plan_auction(self.state, self.holdings, self.rules, self.markets, live)

    def lost(self) -> dict[str, D]:
        """What would be given up."""
        paired = has_pair(self.state, self.holdings, self.rules, self.markets)
        return lost(self.state, self.holdings, self.rules, paired=paired)


def eth_account(price: str = "1200", **rules: Any) -> Account:
    """1 ETH against 1,000 USD, at a threshold of 0.8 and a bonus of 8 %: health 0.96 at 1,200."""
    return Account({"ETH": "1"}, {"USD": "1000"}, {"ETH": price}, **rules)
