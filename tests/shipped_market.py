"""A shipped lending market in miniature: its pools listed, filled and priced, and whatever people
may do in it, told and looked at."""

from collections.abc import Sequence
from decimal import Decimal as D
from decimal import localcontext
from typing import Any, NamedTuple, Protocol

from consumers import profiles
from engine import decisions as d
from engine import events as e
from engine.auction import price_at
from engine.book import Group
from engine.core import Engine
from engine.instruments import Asset
from engine.liquidation import Auction
from engine.margin import level
from engine.money import EXACT, ceil_to, floor_to
from tests.story import Story, WholeEngine

MARKETS = [name for name in profiles.shipped() if profiles.read(name).lending is not None]
"""Every profile under which something is lent."""

WORTH = {
    "BTC": 40_000, "WBTC": 40_000, "cbBTC": 40_000, "ETH": 2_000, "WETH": 2_000, "BETH": 2_000,
    "wstETH": 2_300, "rETH": 2_200, "LTC": 150, "BCH": 500, "COMP": 50, "GOV": 20,
}  # fmt: skip
"""What the assets are worth at first; whatever is not here is worth 1."""

HOUR = 3_600_000_000
DAY = 24 * HOUR
YEAR = 365 * DAY
LENDER, LIQUIDATOR = "lena", "liam"
BORROWERS = ("ben", "bob", "bea")


class Market(NamedTuple):
    """What may back which loans in one margin group."""

    margin: str
    collaterals: tuple[str, ...]
    lends: tuple[str, ...]


class Watcher(Protocol):
    """What looks at a market before and after each event."""

    def before(self, engine: Engine, event: e.AnyEvent) -> None: ...
    def after(self, engine: Engine, event: e.AnyEvent, decided: Sequence[d.Decision]) -> None: ...


class WatchedEngine(WholeEngine):
    """The engine, all slices at once, with watchers that look on in the exact context."""

    def __init__(self, *watchers: Watcher) -> None:
        super().__init__()
        self.watchers = watchers

    def apply(self, event: e.AnyEvent) -> Sequence[d.Decision]:
        """Return every decision of an event."""
        with localcontext(EXACT):
            for watcher in self.watchers:
                watcher.before(self.engine, event)
            decided = super().apply(event)
            for watcher in self.watchers:
                watcher.after(self.engine, event, decided)
        return decided


class ShippedMarket(Story):
    """Tells what happens in a shipped lending market; time passes only by `wait`.

    `decimals` is the most that any asset has: few of them make every rounding visible.
    """

    def __init__(self, name: str, *watchers: Watcher, decimals: int = 8) -> None:
        super().__init__(WatchedEngine(*watchers))
        self.profile = profiles.read(name)
        assert self.profile.lending is not None
        self.lending = self.profile.lending
        self.markets = markets_of(self.profile.lending)
        names = {pool.asset for pool in self.lending.pools.values()} | {self.profile.numeraire}
        self.assets = sorted(names)
        for asset in self.assets:
            known = 6 if asset in ("USDC", "USDT") else 8
            self.tell(e.InstrumentListed, instrument=Asset(asset, min(known, decimals), D(10) ** 9))
        self.tell(e.ProfileChanged, profile=self.profile)
        self.tell(e.AccountOpened, account=LENDER, role="exempt")
        for account in (LIQUIDATOR, *BORROWERS):
            self.tell(e.AccountOpened, account=account)
        for asset in self.assets:
            self.worth(asset, D(WORTH.get(asset, 1)))
            self.fund(asset, 500)
        for pool, rule in self.lending.pools.items():
            if rule.borrowable:
                self.fund(rule.asset, 2000, pool=pool)
                self.supply(LENDER, pool, self.amount_of(pool, D(300_000)))

    @property
    def engine(self) -> Engine:
        """The engine that all is told to."""
        return self.machine.engine

    def tell(self, kind: type[Any], /, **fields: Any) -> Sequence[d.Decision]:
        """Tell an event of the same time as the last one."""
        self.time -= 1
        return super().tell(kind, **fields)

    # --- what is told

    def wait(self, microseconds: int) -> Sequence[d.Decision]:
        """Let time pass."""
        self.time += microseconds
        return self.tell(e.TimePassed)

    def worth(self, asset: str, price: D) -> Sequence[d.Decision]:
        """Quote the price of an asset, of which the numeraire has none."""
        if asset == self.profile.numeraire:
            return []
        first = D(WORTH.get(asset, 1))
        with localcontext(EXACT):
            kept = min(max(price, first / 10**4), first * 10**3)
            quoted = floor_to(kept, D("1e-8"))
        return self.price(asset, f"{quoted:f}", "index")

    def fund(self, asset: str, worth: int, **fields: Any) -> None:
        """Pay into the fund of an asset, or the reserve of a pool."""
        with localcontext(EXACT):
            amount = floor_to(D(worth), self.unit(asset), D(WORTH.get(asset, 1)))
        self.tell(e.FundMoved, shard=0, asset=asset, amount=amount, **fields)

    def supply(self, account: str, pool: str, amount: D, margin: str = e.CROSS) -> None:
        """Bring an amount and lend it."""
        self.deposit(account, self.lending.pools[pool].asset, f"{amount:f}")
        self.loan(e.Supplied, account, pool, amount, margin)

    def repay(self, account: str, pool: str, amount: D, margin: str = e.CROSS) -> None:
        """Bring an amount and repay with it."""
        self.deposit(account, self.lending.pools[pool].asset, f"{amount:f}")
        self.loan(e.Repay, account, pool, amount, margin)

    def loan(
        self, kind: type[e.LoanEvent], account: str, pool: str, amount: D, margin: str = e.CROSS
    ) -> Sequence[d.Decision]:
        """Tell of one movement of a loan."""
        return self.tell(kind, account=account, pool=pool, amount=amount, margin=margin)

    def take_away(self, account: str, pool: str, amount: D) -> None:
        """Withdraw what came out of a pool, unless it was set off at once."""
        asset = self.lending.pools[pool].asset
        left = min(amount, self.group(account).cash.get(asset, D(0)))
        if left > 0:
            self.tell(e.Withdrawal, account=account, asset=asset, amount=left)

    def seize(
        self, order: d.CollateralLiquidation, part: int = 1000, liquidator: str = ""
    ) -> Sequence[d.Decision]:
        """Carry out `part` of a thousand of a seizure as it was planned."""
        with localcontext(EXACT):
            unit = self.unit(self.lending.pools[order.pool].asset)
            coin = self.unit(self.lending.pools[order.collateral].asset)
            repaid = floor_to(order.repay * part, unit, D(1000))
            seized = floor_to(order.seize * repaid, coin, order.repay) if repaid else D(0)
            fee = ceil_to(order.fee * seized, coin, order.seize)
        if not repaid:
            return []
        return self.tell(
            e.Seized, account=order.account, margin=order.margin, pool=order.pool, repaid=repaid,
            collateral=order.collateral, seized=seized, fee=fee, liquidator=liquidator,
            order_id=order.order_id,
        )  # fmt: skip

    def take(self, group: Group, auction: Auction, part: int = 1000, over: int = 0) -> None:
        """Buy `part` of a thousand of an auction's lot, at `over` hundredths above its price."""
        rule, pools = self.lending.auction, self.lending.pools
        assert rule is not None
        with localcontext(EXACT):
            price = price_at(rule.decay, auction.start_price, self.time - auction.started)
            price = price * (100 + over) / 100
            unit = self.unit(pools[auction.pool].asset)
            coin = self.unit(pools[auction.collateral].asset)
            amount = max(floor_to(auction.lot * part, coin, D(1000)), coin)
            if amount * price > auction.debt:
                amount = max(floor_to(auction.debt, coin, price), coin)
            paid = min(ceil_to(amount * price, unit), auction.debt)
        self.tell(
            e.AuctionTaken, account=group.account.id, margin=group.margin, auction_id=auction.id,
            amount=amount, paid=paid,
        )  # fmt: skip

    # --- what there is

    def unit(self, asset: str) -> D:
        """Return the smallest amount of an asset."""
        return self.engine.rules.assets[asset].unit

    def price_of(self, pool: str) -> D:
        """Return what the asset of a pool is worth."""
        price = self.engine.price_of(self.lending.pools[pool].asset)
        assert price is not None
        return price

    def amount_of(self, pool: str, worth: D) -> D:
        """Return how much of a pool's asset is worth that."""
        with localcontext(EXACT):
            unit = self.unit(self.lending.pools[pool].asset)
            return max(floor_to(worth, unit, self.price_of(pool)), unit)

    def group(self, account: str, margin: str = e.CROSS) -> Group:
        """Return a margin group."""
        return self.engine.group_of(account, margin)

    def held(self, account: str, pool: str, margin: str = e.CROSS) -> tuple[D, D]:
        """Return what a group has supplied to a pool and owes it, with interest."""
        return held(self.engine, self.group(account, margin), pool)

    def room(self, account: str, pool: str, margin: str) -> D:
        """Return how much of a pool a group may still borrow, if anything."""
        with localcontext(EXACT):
            engine = self.engine
            at = level(
                self.group(account, margin).holdings, engine.rules, engine.markets, "initial"
            )
            worth = at.margin_equity - at.requirement if at else D(0)
        return self.amount_of(pool, worth) if worth > 0 else D(0)

    def orders(self) -> list[d.CollateralLiquidation]:
        """Return the seizures that are asked for, in the order of their decisions."""
        live = {
            order
            for group in self.engine.liquidating
            if group.liquidation
            for order in group.liquidation.orders
        }
        planned = (one for one in self.decided if isinstance(one, d.CollateralLiquidation))
        return [one for one in planned if one.order_id in live]

    def auctions(self) -> list[tuple[Group, Auction]]:
        """Return the live auctions, with whose collateral they sell."""
        return [
            (group, auction)
            for group in self.engine.liquidating
            if group.liquidation
            for auction in group.liquidation.auctions.values()
        ]


def held(engine: Engine, group: Group, pool: str) -> tuple[D, D]:
    """Return what a group has supplied to a pool and owes it, with interest."""
    with localcontext(EXACT):
        state = engine.health_of(group)
    assert state is not None
    for loan in state.loans:
        if loan.pool == pool:
            return loan.supplied, loan.owed
    return D(0), D(0)


def markets_of(lending: Any) -> list[Market]:
    """Return the markets in which loans are opened: those of a category each, and that of all pools
    whose supplies count by themselves."""
    pools = lending.pools
    lends = tuple(name for name, rule in pools.items() if rule.borrowable)
    found = [
        Market(e.isolated(name), tuple(category.collateral), category.borrowable or lends)
        for name, category in lending.categories.items()
        if name in pools
    ]
    backs = tuple(name for name, rule in pools.items() if rule.collateral is not None)
    return [*found, Market(e.CROSS, backs, lends)] if backs else found
