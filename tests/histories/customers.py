"""What account holders do: bring money, trade with leverage, borrow, move, leave."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING

from engine import events
from tests.histories.listing import NAMELESS, USDT, quantity, worth
from tests.histories.waterfall_rules import INSURANCE, RESCUE
from tests.twin.amounts import decimal, floor
from tests.twin.books import Group
from tests.twin.pools import owed_now, supplied_now
from tests.twin.values import health

if TYPE_CHECKING:
    from tests.histories.history import History


class Customers:
    """Traders, a market maker, an exempt account, and what they do."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.chance = history.chance
        self.listing = history.listing
        self.twin = history.twin
        traders = [f"trader-{n}" for n in range(self.chance.randint(2, 8))]
        self.names = ["maker", *traders, *(["exempt"] if self.chance.random() < 0.6 else [])]

    def open(self) -> None:
        """Bring every account in, by opening, deposit or snapshot."""
        for name in self.names:
            role = {"maker": "market_maker", "exempt": "exempt"}.get(name, "trader")
            if role != "trader" or self.chance.random() < 0.4:
                self._do(partial(self._of, name, events.AccountOpened, role=role))
            if self.chance.random() < 0.2:
                self._do(partial(self._snapshot, name, wrong=True))
            self._do(partial(self._deposit, name))
            if self.history.trades and self.chance.random() < 0.6:
                self._do(partial(self._trade, name))
        if self.history.shares:
            for name, role in ((INSURANCE, "fund"), (RESCUE, "backstop")):
                self._do(partial(self._of, name, events.AccountOpened, role=role))
                self._do(partial(self._deposit, name))

    def pair(self) -> None:
        """Let two trade with each other, one of them with more leverage."""
        one, other = self.chance.sample(self.names, 2)
        symbol = self._symbol()
        contract = self.listing.contracts[symbol]
        size = self._contracts(symbol, self._notional(self.chance.choice((50.0, 300.0, 1000.0))))
        size = size or Decimal(1).scaleb(-contract.size_decimals)
        price = self._price(symbol, 0.002)
        for name, signed in ((one, size), (other, -size)):
            margin = "cross" if self.chance.random() < 0.8 else f"isolated:{symbol}"
            if margin != "cross":
                self._do(partial(self._move, name, symbol))
            self._do(partial(self.history.fill, name, margin, contract, signed, price))

    def hedge(self) -> None:
        """Let somebody hold both sides of a market, one of them isolated."""
        held = [(name, leg) for name in self.names for leg in self._group(name, "cross").legs]
        if not held:
            return
        name, symbol = self.chance.choice(held)
        contract = self.listing.contracts[symbol]
        cross = float(self._group(name, "cross").legs[symbol].size)
        size = quantity(-cross * self.chance.choice((0.3, 1, 1.5)), contract.size_decimals)
        price, margin = self._price(symbol, 0.002), f"isolated:{symbol}"
        if size:
            self._do(partial(self._move, name, symbol))
            self._do(partial(self.history.fill, name, margin, contract, size, price))

    def nudge(self) -> None:
        """Let somebody who has positions withdraw what leaves a little less than they need."""
        held = [name for name in self.names if self._group(name, "cross").legs]
        if held:
            self._do(partial(self._overdraw, self.chance.choice(held)))

    def _overdraw(self, name: str) -> events.AnyEvent:
        now = health(self.twin.world, self._group(name, "cross"))
        if now is None or now.requirement <= 0:
            return self._trade(name)
        kept = now.requirement * Fraction(self.chance.choice((0.5, 0.7, 0.9, 0.95, 0.99)))
        amount = floor(now.margin_equity - kept, self.twin.world.unit(USDT))
        if amount <= 0:
            return self._trade(name)
        return self._of(name, events.Withdrawal, asset=USDT, amount=decimal(amount))

    def act(self) -> None:
        """Let somebody do something."""
        name = self.chance.choice(self.names)
        acts: dict[Callable[[str], events.AnyEvent], float] = {
            self._trade: 0.42 if self.history.trades else 0.02,
            self._reduce: 0.14,
            self._deposit: 0.06,
            self._withdraw: 0.07,
            self._brink: 0.05,
            self._move: 0.07,
            self._order: 0.12,
            self._cancel: 0.02,
            self._snapshot: 0.05,
            self._pay_funding: 0.04,
            self._swap: 0.05,
            self._role: 0.01,
            self._guest: 0.01,
        }
        act = self.chance.choices(list(acts), list(acts.values()))[0]
        self._do(partial(act, name))

    def _do(self, make: Callable[[], events.AnyEvent]) -> None:
        self.history.queue.append(make)

    def _of(self, name: str, kind: type, **fields: object) -> events.AnyEvent:
        return self.history.of(name, kind, **fields)

    # --- money

    def _some(self, asset: str, low: float, high: float) -> Decimal:
        price = self.history.market.prices.get(asset, 1.0)
        worth = self.chance.uniform(low, high)
        return quantity(worth / price, self.listing.assets[asset].decimals)

    def _deposit(self, name: str) -> events.AnyEvent:
        coin = self.chance.random() < 0.4
        asset = self.chance.choice(list(self.listing.assets)) if coin else USDT
        return self._of(name, events.Deposit, asset=asset, amount=self._some(asset, 50, 2_000))

    def _withdraw(self, name: str) -> events.AnyEvent:
        asset = self.chance.choice(list(self.listing.assets))
        amount = self._some(asset, 1, 300)
        cash = self._group(name, "cross").cash.get(asset, 0)
        if cash > 0 and self.chance.random() < 0.6:
            share = self.chance.uniform(0.1, 1.0)
            amount = quantity(float(cash) * share, self.listing.assets[asset].decimals) or amount
        return self._of(name, events.Withdrawal, asset=asset, amount=amount)

    def _brink(self, name: str) -> events.AnyEvent:
        """Leave what is just enough, or a unit more or less, for one requirement or the other."""
        group = self._group(name, "cross")
        context = self.chance.choice(("maintenance", "initial"))
        now = health(self.twin.world, group, context) if self.twin.world.policy else None
        if now is None or not group.legs:
            return self._trade(name)
        unit = self.twin.world.unit(USDT)
        spare = floor(now.margin_equity - now.requirement, unit)
        amount = decimal(spare + self.chance.choice((-1, 0, 0, 1)) * unit)
        kind = events.Withdrawal if amount > 0 else events.Deposit
        return self._of(name, kind, asset=USDT, amount=abs(amount))

    def _move(self, name: str, symbol: str = "") -> events.AnyEvent:
        aim = symbol or self._symbol()
        settle = self.listing.contracts[aim].settle
        amount = self._some(settle, 50, 200)
        if not symbol and self.chance.random() < 0.5:
            amount = -amount
        return self._of(name, events.MarginMoved, symbol=aim, amount=amount)

    def _swap(self, name: str) -> events.AnyEvent:
        asset, wanted = self.chance.sample([a for a in self.listing.assets if a != NAMELESS], 2)
        amount = self._some(asset, 10, 200)
        prices = self.history.market.prices
        worth = float(amount) * prices.get(asset, 1.0) / prices.get(wanted, 1.0)
        return self._of(
            name,
            events.CollateralSold,
            margin=self.chance.choice(self._margins(name)),
            asset=asset,
            amount=amount,
            for_asset=wanted,
            proceeds=quantity(worth * 0.999, self.listing.assets[wanted].decimals),
        )

    def pay_in(self) -> events.AnyEvent:
        """Let somebody bring money."""
        return self._deposit(self.chance.choice(self.names))

    # --- trading

    def _symbol(self) -> str:
        return self.chance.choice(list(self.listing.contracts))

    def _group(self, name: str, margin: str) -> Group:
        account = self.twin.world.accounts.get(name)
        return (account.groups.get(margin) if account else None) or Group(name, margin)

    def _margins(self, name: str) -> list[str]:
        account = self.twin.world.accounts.get(name)
        return ["cross", *(margin for margin in (account.groups if account else {}))]

    def _equity(self, group: Group) -> float:
        if self.twin.world.policy is None:
            return 0.0
        now = health(self.twin.world, group)
        return 0.0 if now is None else float(now.equity)

    def _trade(self, name: str) -> events.AnyEvent:
        symbol = self._symbol()
        alone = self.chance.random() < 0.3
        margin = f"isolated:{symbol}" if alone else "cross"
        equity = self._equity(self._group(name, margin))
        if equity < 20 and self.chance.random() < 0.9:
            if not alone:
                return self._deposit(name)
            self._do(lambda: self._fill(name, margin, symbol, self._notional(100.0)))
            return self._move(name, symbol)
        return self._fill(name, margin, symbol, self._notional(max(20.0, equity)))

    def _notional(self, equity: float) -> float:
        leverage = min(30.0, self.chance.lognormvariate(1.3, 0.8))
        return equity * leverage * self.chance.choice((-1, 1))

    def _fill(self, name: str, margin: str, symbol: str, notional: float) -> events.AnyEvent:
        contract = self.listing.contracts[symbol]
        size = self._contracts(symbol, notional)
        if size == 0:
            size = Decimal(1).scaleb(-contract.size_decimals)
        return self.history.fill(name, margin, contract, size, self._price(symbol, 0.002))

    def _contracts(self, symbol: str, notional: float) -> Decimal:
        """Return a size whose underlying is worth `notional` in the numeraire."""
        contract = self.listing.contracts[symbol]
        contracts = notional / float(contract.multiplier)
        if not contract.inverse:
            contracts /= self.history.market.prices[self.listing.underlying[symbol]]
        return quantity(contracts, contract.size_decimals)

    def _price(self, symbol: str, spread: float) -> Decimal:
        contract = self.listing.contracts[symbol]
        price = self.history.market.mark(symbol) * self.chance.gauss(1, spread)
        return max(quantity(price, contract.price_decimals), contract.price_unit)

    def _reduce(self, name: str) -> events.AnyEvent:
        world = self.twin.world
        held = [
            (group.margin, symbol, leg.size)
            for group in (world.accounts[name].groups.values() if name in world.accounts else ())
            for symbol, leg in group.legs.items()
        ]
        if not held:
            return self._trade(name)
        margin, symbol, size = self.chance.choice(held)
        contract = self.listing.contracts[symbol]
        part = self.chance.choice((1.0, 1.0, 0.3, 0.7, 1.8))
        closing = quantity(-float(size) * part, contract.size_decimals) or decimal(-size)
        price = self._price(symbol, 0.003)
        return self.history.fill(name, margin, contract, closing, price)

    def _order(self, name: str) -> events.AnyEvent:
        symbol = self._symbol()
        margin = self.chance.choice(("cross", "cross", "cross", f"isolated:{symbol}"))
        equity = max(50.0, self._equity(self._group(name, margin)))
        buys, sells = (
            self._contracts(symbol, equity * self.chance.choice((0, 0.5, 4)) * self.chance.random())
            for _ in range(2)
        )
        return self._of(
            name, events.OpenOrders, symbol=symbol, margin=margin, buy_size=buys, sell_size=sells
        )

    def _cancel(self, name: str) -> events.AnyEvent:
        return self._of(name, events.OrdersCancelled, margin="cross")

    def _pay_funding(self, name: str) -> events.AnyEvent:
        symbol = self._symbol()
        settle = self.listing.contracts[symbol].settle
        amount = self._some(settle, 1, 20) * self.chance.choice((-1, 1))
        margin = self.chance.choice(("cross", f"isolated:{symbol}"))
        return self._of(name, events.FundingPaid, symbol=symbol, margin=margin, amount=amount)

    # --- the account itself

    def _role(self, name: str) -> events.AnyEvent:
        role = self.chance.choice(("trader", "trader", "exempt", "backstop"))
        return self._of(name, events.AccountOpened, role=role)

    def _guest(self, _: str) -> events.AnyEvent:
        """Somebody opens an account and closes it again."""
        guest = f"guest-{len(self.history.sent)}"
        self._do(lambda: self._of(guest, events.AccountClosed))
        if self.chance.random() < 0.5:
            self._do(lambda: self._of(guest, events.Deposit, asset=USDT, amount=Decimal(5)))
        return self._of(guest, events.AccountOpened)

    def _snapshot(self, name: str, *, wrong: bool | None = None) -> events.AnyEvent:
        """Tell an account as it is, or nearly."""
        account = self.twin.world.accounts.get(name)
        groups = []
        for group in account.groups.values() if account else ():
            legs = tuple(
                events.LegSnapshot(symbol, decimal(leg.size), decimal(leg.cost))
                for symbol, leg in group.legs.items()
                if symbol not in self.twin.world.settled
            )
            balances = {asset: decimal(cash) for asset, cash in group.cash.items()}
            groups.append(events.GroupSnapshot(group.margin, balances, legs, *self._lent(group)))
        if wrong or (wrong is None and self.chance.random() < 0.4):
            self.chance.shuffle(groups)
            groups = [group for group in groups[1:] if group.margin != "cross"]
            groups.append(self._drawn())
        role = self.chance.choice((None, None, None, "trader"))
        return self._of(name, events.PositionSnapshot, groups=tuple(groups), role=role)

    def _lent(self, group: Group) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
        """Return what a group has in pools and owes them, now and then a little else."""
        world = self.twin.world
        if self.listing.market is None or world.policy is None:
            return {}, {}
        told: tuple[dict[str, Decimal], dict[str, Decimal]] = {}, {}
        for amounts, present in zip(told, (supplied_now, owed_now), strict=True):
            for pool in sorted(group.loans):
                amount = decimal(present(world, group, pool))
                if self.chance.random() < 0.15:
                    amount = self._some(self.listing.market.pools[pool], 0, 500)
                if amount or self.chance.random() < 0.1:
                    amounts[pool] = amount
        return told

    def _drawn(self) -> events.GroupSnapshot:
        symbols = [s for s in self.listing.contracts if s not in self.twin.world.settled]
        legs = tuple(
            self._leg(symbol) for symbol in symbols if self.chance.random() < 1 / len(symbols)
        )
        assets = self.chance.sample(list(self.listing.assets), self.chance.randint(1, 2))
        balances = {
            asset: self._some(asset, 10, 900) * self.chance.choice((1, 1, 1, -1))
            for asset in assets
        }
        supplied: dict[str, Decimal] = {}
        if self.listing.market is not None and self.chance.random() < 0.5:
            pool, asset = self.chance.choice(list(self.listing.market.pools.items()))
            supplied[pool] = self._some(asset, 50, 900)
        return events.GroupSnapshot("cross", balances, legs, supplied)

    def _leg(self, symbol: str) -> events.LegSnapshot:
        contract = self.listing.contracts[symbol]
        notional = self.chance.uniform(100, 5_000) * self.chance.choice((-1, 1))
        step = Decimal(1).scaleb(-contract.size_decimals)
        size = self._contracts(symbol, notional) or step
        cost = worth(contract, float(size), self.history.market.mark(symbol))
        cost = -cost if contract.inverse else cost
        return events.LegSnapshot(
            symbol, size, quantity(cost, self.listing.assets[contract.settle].decimals)
        )
