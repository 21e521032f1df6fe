"""A shipped lending market in miniature: its pools listed, filled and priced, and whatever people
may do in it, drawn at random."""

from collections.abc import Sequence
from decimal import Decimal as D
from decimal import localcontext
from typing import Any, NamedTuple, Protocol

from hypothesis import strategies as st

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
        return self.machine.engine  # type: ignore[attr-defined, no-any-return]

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


# --- histories


class Act(NamedTuple):
    """One thing that is done: who and where by `place`, of what by `choice`, how much by `size` (a
    part of 1,000)."""

    kind: str
    place: int
    choice: int
    size: int


class Player:
    """Does what is drawn to a market, as far as that makes sense there."""

    def __init__(self, market: ShippedMarket) -> None:
        self.market = market

    def play(self, acts: Sequence[Act]) -> None:
        """Do one thing after another."""
        for act in acts:
            getattr(self, f"_{act.kind}")(act)

    def _where(self, act: Act) -> tuple[str, Market]:
        markets = self.market.markets
        return BORROWERS[act.place % len(BORROWERS)], markets[act.place % len(markets)]

    def _pool(self, names: Sequence[str], act: Act) -> str:
        return names[act.choice % len(names)]

    def _open(self, act: Act) -> None:
        """Back a loan, and open it up to its most."""
        self._supply(act)
        self._borrow(act._replace(choice=act.choice + act.place + 1, size=500))

    def _supply(self, act: Act) -> None:
        who, where = self._where(act)
        pool = self._pool(where.collaterals, act)
        amount = self.market.amount_of(pool, D(act.size * 30))
        self.market.supply(who, pool, amount, where.margin)

    def _lend(self, act: Act) -> None:
        pool = self._pool(self._where(act)[1].lends, act)
        self.market.supply(LENDER, pool, self.market.amount_of(pool, D(act.size * 30)))

    def _redeem(self, act: Act) -> None:
        who, where = self._where(act)
        self._take_back(act, who, self._pool(where.collaterals, act), where.margin)

    def _recall(self, act: Act) -> None:
        self._take_back(act, LENDER, self._pool(self._where(act)[1].lends, act), e.CROSS)

    def _take_back(self, act: Act, who: str, pool: str, margin: str) -> None:
        """Redeem a part of what was supplied, now and then more than all of it."""
        has = self.market.held(who, pool, margin)[0]
        amount = self._part(pool, has, act.size, 950)
        if not amount:
            return
        decided = self.market.loan(e.Redeemed, who, pool, amount, margin)
        if not any(isinstance(one, d.WithdrawalUnpaid | d.Refused) for one in decided):
            self.market.take_away(who, pool, amount)

    def _borrow(self, act: Act) -> None:
        """Borrow what may be opened, less of it, or twice as much; keep some of it in cash."""
        who, where = self._where(act)
        pool = self._pool(where.lends, act)
        amount = self._part(pool, self.market.room(who, pool, where.margin), act.size, 500)
        known = self.market.engine.markets.lending.get(pool)
        amount = min(amount, known.cash if known else D(0))
        if amount:
            decided = self.market.loan(e.Borrow, who, pool, amount, where.margin)
            refused = any(isinstance(one, d.Refused) for one in decided)
            if not refused and (act.choice + act.size) % 4:
                self.market.take_away(who, pool, amount)

    def _repay(self, act: Act) -> None:
        """Repay some of what is owed, or was given up, now and then more than that."""
        who, where = self._where(act)
        pool = self._pool(where.lends, act)
        given_up = self.market.group(who, where.margin).given_up.get(pool, D(0))
        owed = self.market.held(who, pool, where.margin)[1] + given_up
        amount = self._part(pool, owed, act.size, 900)
        if amount:
            self.market.repay(who, pool, amount, where.margin)

    def _part(self, pool: str, whole: D, size: int, of: int) -> D:
        with localcontext(EXACT):
            return floor_to(
                whole * size, self.market.unit(self.market.lending.pools[pool].asset), D(of)
            )

    def _drift(self, act: Act) -> None:
        """Move a price by up to a tenth."""
        self._move(act, D(9_000 + 2 * act.size) / 10_000)

    def _crash(self, act: Act) -> None:
        """Leave a part of a price, down to a thousandth of it."""
        self._move(act, D(act.size) / 1000)

    def _soar(self, act: Act) -> None:
        self._move(act, D(1000 + 2 * act.size) / 1000)

    def _move(self, act: Act, factor: D) -> None:
        asset = self.market.assets[(act.place + act.choice) % len(self.market.assets)]
        price = self.market.engine.price_of(asset)
        assert price is not None
        with localcontext(EXACT):
            self.market.worth(asset, price * factor)

    def _sink(self, act: Act) -> None:
        """Let the first collateral of a group fall to about where it is liquidated."""
        who, where = self._where(act)
        with localcontext(EXACT):
            state = self.market.engine.health_of(self.market.group(who, where.margin))
            backs = [one for one in state.loans if one.counted] if state else []
            if state is None or not backs or not state.maintenance:
                return
            most = max(backs, key=lambda loan: loan.counted)
            rest = state.margin_equity - most.counted
            left = max(state.maintenance - rest, D(0)) * (850 + act.size // 5)
            # To just under the threshold, or to 15 % below and beyond it.
            price = floor_to(left * most.price, D("1e-8"), most.counted * 1000)
        self.market.worth(most.asset, price)

    def _wait(self, act: Act) -> None:
        """Let up to a year pass, or up to a day while auctions are reset every few hours."""
        longest = (HOUR, DAY) if self.market.auctions() else (HOUR, DAY, 30 * DAY, YEAR)
        self.market.wait(longest[act.choice % len(longest)] * act.size // 1000)

    def _seize(self, act: Act) -> None:
        """Answer what is asked for: all of it or a part, paid out or as a claim."""
        for order in self.market.orders()[: 1 + act.choice % 2]:
            part = act.size if act.place % 3 == 0 else 1000
            claim = order.paid_in == "supply" or act.choice % 3 == 0
            self.market.seize(order, part, LIQUIDATOR if claim else "")

    def _take(self, act: Act) -> None:
        """Buy what is on auction, at its price or above, all of it or a part."""
        for group, auction in self.market.auctions()[: 1 + act.choice % 2]:
            part = act.size if act.place % 3 == 0 else 1000
            self.market.take(group, auction, part, over=act.choice % 3 * 5)

    def _expire(self, act: Act) -> None:
        """Let orders expire, and the venue say that they are gone."""
        decided = self.market.wait(self.market.profile.liquidation.order_ttl)
        for cancel in (one for one in decided if isinstance(one, d.CancelOrder)):
            filled = self.market.engine.find_live(cancel.account, cancel.order_id)
            self.market.tell(
                e.OrderClosed, account=cancel.account, order_id=cancel.order_id,
                filled_size=filled[1].filled if filled else D(0),
            )  # fmt: skip


KINDS = (
    *("open", "open", "supply", "lend", "redeem", "recall", "borrow", "borrow", "repay"),
    *("drift", "crash", "soar", "sink", "sink", "sink", "wait", "wait"),
    *("seize", "seize", "seize", "take", "take", "take", "expire"),
)


def acts(least: int = 4, most: int = 24) -> st.SearchStrategy[list[Act]]:
    """Return what is done in a history; it begins with two loans that are opened."""
    one = st.builds(
        Act, st.sampled_from(KINDS), st.integers(0, 5), st.integers(0, 11), st.integers(1, 1000)
    )
    opened = st.builds(
        Act, st.just("open"), st.integers(0, 5), st.integers(0, 11), st.integers(1, 1000)
    )
    return st.tuples(opened, opened, st.lists(one, min_size=least, max_size=most)).map(
        lambda drawn: [drawn[0], drawn[1], *drawn[2]]
    )


def play(name: str, done: Sequence[Act], *watchers: Watcher, decimals: int = 8) -> ShippedMarket:
    """Return a market in which all that was done."""
    market = ShippedMarket(name, *watchers, decimals=decimals)
    Player(market).play(done)
    return market
