"""A lending market told as a story: pools, prices, borrowers; every invariant is checked after each
event."""

from collections.abc import Sequence
from decimal import Decimal as D
from typing import Any

from engine import events as e
from engine import invariants
from engine.decisions import CollateralLiquidation, Decision, Refused
from engine.instruments import Asset
from engine.lending_profile import Lending, PoolRule, Terms
from engine.profile import Collateral, RiskProfile, Trigger
from engine.seizure import FixedBonus
from tests.story import Story, WholeEngine, of

USD = Asset("USD", 6, D(10) ** 10)
COINS = (USD, Asset("EUR", 6, D(10) ** 10), Asset("ETH", 8, D(10) ** 9))
HOUR = 3_600_000_000
DAY = 24 * HOUR


class Checked(WholeEngine):
    """The engine, with every invariant checked after every event."""

    def apply(self, event: e.AnyEvent) -> Sequence[Decision]:
        """Return every decision of an event."""
        decided = super().apply(event)
        invariants.check(self.engine)
        return decided


class LoanStory(Story):
    """Tells what borrowers, lenders and liquidators do."""

    def __init__(self) -> None:
        super().__init__(Checked())

    @property
    def engine(self) -> Any:
        """The engine that the story is told to."""
        return self.machine.engine

    def market(self, pools: dict[str, PoolRule], prices: dict[str, str], **rules: Any) -> None:
        """Open a market with pools, at prices; loans stop being liquidated at health 1."""
        for coin in COINS:
            self.tell(e.InstrumentListed, instrument=coin)
        lending = {name: rules.pop(name) for name in Lending.__struct_fields__ if name in rules}
        profile = RiskProfile(
            name="loans",
            numeraire="USD",
            collateral={coin.name: Collateral() for coin in COINS},
            conversion=tuple(coin.name for coin in COINS),
            trigger=Trigger(stop_buffer=D(0)),
            lending=Lending(pools, **lending),
            **rules,
        )
        refused = [one.detail for one in of(Refused, self.tell(e.ProfileChanged, profile=profile))]
        assert not refused, refused
        for asset, price in prices.items():
            self.price(asset, price, "index")

    def supply(self, account: str, pool: str, amount: str, **fields: Any) -> Sequence[Decision]:
        """Bring an amount and lend it."""
        asset = self.engine.rules.pool(pool).asset
        self.deposit(account, asset, amount)
        return self.tell(e.Supplied, account=account, pool=pool, amount=D(amount), **fields)

    def borrow(self, account: str, pool: str, amount: str) -> Sequence[Decision]:
        """Borrow an amount and take it away."""
        asset = self.engine.rules.pool(pool).asset
        decided = list(self.tell(e.Borrow, account=account, pool=pool, amount=D(amount)))
        return decided + list(
            self.tell(e.Withdrawal, account=account, asset=asset, amount=D(amount))
        )

    def repay(self, account: str, pool: str, amount: str) -> Sequence[Decision]:
        """Bring an amount and repay with it."""
        asset = self.engine.rules.pool(pool).asset
        self.deposit(account, asset, amount)
        return self.tell(e.Repay, account=account, pool=pool, amount=D(amount))

    def redeem(self, account: str, pool: str, amount: str) -> Sequence[Decision]:
        """Take back what was lent."""
        return self.tell(e.Redeemed, account=account, pool=pool, amount=D(amount))

    def seized(self, order: CollateralLiquidation, liquidator: str = "") -> Sequence[Decision]:
        """Carry out a seizure as it was planned."""
        return self.tell(
            e.Seized,
            account=order.account,
            margin=order.margin,
            pool=order.pool,
            repaid=order.repay,
            collateral=order.collateral,
            seized=order.seize,
            fee=order.fee,
            liquidator=liquidator,
            order_id=order.order_id,
        )

    def taken(self, auction: str, amount: str, paid: str) -> Sequence[Decision]:
        """Take some of an auction's lot."""
        return self.tell(
            e.AuctionTaken,
            account=auction.partition(":")[0],
            margin="cross",
            auction_id=auction,
            amount=D(amount),
            paid=D(paid),
        )

    def wait(self, microseconds: int) -> Sequence[Decision]:
        """Let time pass, until so much after the last event."""
        self.time += microseconds - 1
        return self.tell(e.TimePassed)

    def loan(self, account: str, pool: str) -> tuple[D, D]:
        """Return what an account has supplied to a pool and owes it, with interest."""
        state = self.engine.health_of(self.engine.group_of(account, "cross"))
        (found,) = [loan for loan in state.loans if loan.pool == pool] or [None]
        return (found.supplied, found.owed) if found else (D(0), D(0))


def pool(asset: str, threshold: str = "", bonus: str = "0.05", **fields: Any) -> PoolRule:
    """Return a pool; with a threshold what is supplied to it is collateral."""
    terms = None
    if threshold:
        fee = fields.pop("protocol_fee", D(0))
        terms = Terms(D(threshold) - D("0.05"), D(threshold), FixedBonus(D(bonus)), fee)
    return PoolRule(asset, collateral=terms, **fields)
