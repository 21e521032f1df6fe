"""Events that must be refused, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from engine import events
from engine.instruments import Option
from engine.profile import RiskProfile
from tests.histories.listing import USDT

if TYPE_CHECKING:
    from tests.histories.history import History

FINE = Decimal("0.00000000000000001")


class Mistakes:
    """Everything that somebody may get wrong."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.chance = history.chance
        self.listing = history.listing

    def act(self) -> None:
        """Make one mistake."""
        mistakes: tuple[Callable[[], events.AnyEvent], ...] = (
            self._deposit,
            self._stranger,
            self._fill,
            self._fill,
            self._fill,
            self._order,
            self._price,
            self._price,
            self._mark,
            self._margin,
            self._control,
            self._close,
            self._snapshot,
            self._sale,
        )
        self.history.queue.append(self.chance.choice(mistakes))

    def act_on_loans(self) -> None:
        """Make one mistake about loans."""
        mistakes: tuple[Callable[[], events.AnyEvent], ...] = (
            self._loan,
            self._loan,
            self._seizure,
            self._seizure,
            self._pool,
            self._pools_told,
        )
        self.history.queue.append(self.chance.choice(mistakes))

    def _of(self, kind: type, **fields: object) -> events.AnyEvent:
        name = self.chance.choice(self.history.customers.names)
        return self.history.of(name, kind, **fields)

    def _symbol(self) -> str:
        return self.chance.choice(list(self.listing.contracts))

    def _deposit(self) -> events.AnyEvent:
        asset, amount = self.chance.choice(
            (
                ("NONE", Decimal(1)),
                (USDT, Decimal(0)),
                (USDT, Decimal(-1)),
                (USDT, FINE),
                (USDT, Decimal(6_000_000_000)),
                (self._symbol(), Decimal(1)),
            )
        )
        kind = self.chance.choice((events.Deposit, events.Withdrawal))
        return self._of(kind, asset=asset, amount=amount)

    def _stranger(self) -> events.AnyEvent:
        name = self.chance.choice(("nobody", "no:body", "x" * 65, ""))
        kind, fields = self.chance.choice(
            (
                (events.Withdrawal, {"asset": USDT, "amount": Decimal(1)}),
                (events.Deposit, {"asset": USDT, "amount": Decimal(0)}),
                (events.OrdersCancelled, {"margin": "cross"}),
                (events.AccountClosed, {}),
            )
        )
        return self.history.of(name, kind, **fields)

    def _fill(self) -> events.AnyEvent:
        symbol = self._symbol()
        fields: dict[str, object] = {
            "symbol": symbol,
            "margin": "cross",
            "size": Decimal(1),
            "price": Decimal(100),
            "fee": Decimal(0),
            "fee_asset": USDT,
            "fill_id": "",
        }
        wrongs: list[dict[str, object]] = [
            {"size": Decimal(0)},
            {"size": FINE},
            {"size": Decimal(2_000_000_000)},
            {"price": Decimal(0)},
            {"price": Decimal(-1)},
            {"price": FINE},
            {"fee": FINE},
            {"fee_asset": "NONE"},
            {"symbol": "NONE"},
            {"symbol": USDT},
            {"margin": "isolated:NONE"},
            {"margin": "isolated"},
            {"order_id": f"trader-0:1:9:{symbol}"},
            {"order_id": "nothing of ours"},
        ]
        return self._of(events.Fill, **{**fields, **self.chance.choice(wrongs)})

    def _order(self) -> events.AnyEvent:
        """Use a real order id in the wrong place."""
        issued = list(self.history.venue.issued.values())
        if not issued:
            return self._close()
        order = self.chance.choice(issued)
        others = [name for name in self.history.customers.names if name != order.account]
        wrongs: list[dict[str, object]] = [
            {"order_id": order.order_id, "filled_size": Decimal(-1)},
            {"order_id": order.order_id, "filled_size": FINE},
            {"order_id": order.order_id + "X", "filled_size": Decimal(0)},
        ]
        if self.chance.random() < 0.4:
            name, wrong = self.chance.choice(others), {**wrongs[0], "filled_size": Decimal(0)}
        else:
            name, wrong = order.account, self.chance.choice(wrongs)
        return self.history.of(name, events.OrderClosed, **wrong)

    def _close(self) -> events.AnyEvent:
        return self._of(events.AccountClosed)

    def _price(self) -> events.AnyEvent:
        symbol = self._symbol()
        coin = self.listing.underlying[symbol]
        wrongs: list[tuple[str, events.PriceKind, Decimal]] = [
            (symbol, "mark", Decimal(0)),
            (symbol, "mark", Decimal(-5)),
            (symbol, "mark", FINE),
            (coin, "mark", Decimal(5)),
            (coin, "index", FINE),
            (USDT, "index", Decimal(1)),
            ("NONE", "mark", Decimal(5)),
        ]
        symbol, kind, price = self.chance.choice(wrongs)
        rules = self.listing.profile.prices
        source = rules.symbols.get(symbol) or getattr(rules, kind)
        return events.PriceUpdate(
            time=self.history.now + self.chance.choice((0, 3_600_000_000)),
            symbol=symbol,
            kind=kind,
            price=price,
            source=source,
            sequence=self.history.number(f"{source}:{symbol}"),
        )

    def _mark(self) -> events.AnyEvent:
        """Mark what is no option, with numbers that are none, or give an option a price."""
        symbol = self._symbol()
        fields: dict[str, Any] = {
            "iv": Decimal("0.5"),
            "forward": Decimal(100),
            "discount": Decimal(1),
        }
        option = isinstance(self.listing.contracts[symbol], Option)
        wrongs: list[dict[str, Any]] = [
            {"symbol": "NONE"},
            {"symbol": USDT},
            {"forward": Decimal(0)} if option else {},
            {"iv": Decimal(-1)} if option else {},
            {"discount": Decimal("2.1")} if option else {},
        ]
        fields = {"symbol": symbol, **fields, **self.chance.choice(wrongs)}
        source = self.listing.profile.source_of(symbol, "mark")
        number = self.history.number(f"{source}:{fields['symbol']}")
        if option and self.chance.random() < 0.4:
            fields = {"symbol": symbol, "kind": "mark", "price": Decimal(5)}
            return events.PriceUpdate(
                time=self.history.now, source=source, sequence=number, **fields
            )
        return events.OptionMark(time=self.history.now, source=source, sequence=number, **fields)

    def _margin(self) -> events.AnyEvent:
        symbol = self._symbol()
        wrongs: list[tuple[type, dict[str, object]]] = [
            (events.MarginMoved, {"symbol": "NONE", "amount": Decimal(1)}),
            (events.MarginMoved, {"symbol": symbol, "amount": FINE}),
            (events.OrdersCancelled, {"margin": "isolated:NONE"}),
            (
                events.OpenOrders,
                {
                    "symbol": symbol,
                    "margin": "cross",
                    "buy_size": Decimal(-1),
                    "sell_size": Decimal(0),
                },
            ),
            (events.FundingPaid, {"symbol": symbol, "margin": "cross", "amount": FINE}),
        ]
        kind, fields = self.chance.choice(wrongs)
        return self._of(kind, **fields)

    def _control(self) -> events.AnyEvent:
        now = self.history.now
        number = self.history.number
        return self.chance.choice(
            (
                lambda: events.FundMoved(
                    time=now,
                    shard=0,
                    asset=USDT,
                    amount=Decimal(-1_000_000),
                    sequence=number("fund 0"),
                ),
                lambda: events.FundMoved(
                    time=now, shard=0, asset=USDT, amount=FINE, sequence=number("fund 0")
                ),
                lambda: events.MarketState(
                    time=now, symbol="NONE", long_size=Decimal(1), short_size=Decimal(1)
                ),
                lambda: events.MarketState(
                    time=now, symbol=self._symbol(), long_size=Decimal(-1), short_size=Decimal(1)
                ),
                lambda: events.PoolState(
                    time=now, pool="NONE", supplied=Decimal(1), borrowed=Decimal(0)
                ),
                lambda: events.PoolState(time=now, pool=USDT, supplied=FINE, borrowed=Decimal(0)),
                lambda: events.Halt(time=now, symbol="NONE"),
                lambda: events.Resume(time=now, symbol="NONE"),
                lambda: events.Settled(time=now, symbol="NONE", price=Decimal(1)),
                lambda: events.Settled(time=now, symbol=self._symbol(), price=Decimal(-1)),
                lambda: events.FundingRate(
                    time=now, symbol="NONE", rate=Decimal("0.01"), sequence=1
                ),
            )
        )()

    def _snapshot(self) -> events.AnyEvent:
        symbol = self._symbol()
        leg = events.LegSnapshot(symbol, Decimal(1), Decimal(100))
        groups = self.chance.choice(
            (
                (events.GroupSnapshot("isolated:NONE"),),
                (events.GroupSnapshot("cross", {"NONE": Decimal(1)}),),
                (events.GroupSnapshot("cross", {USDT: FINE}),),
                (events.GroupSnapshot("cross", {}, (leg, leg)),),
                (events.GroupSnapshot("cross"), events.GroupSnapshot("cross")),
                (events.GroupSnapshot("cross", {}, (events.LegSnapshot(symbol, FINE, FINE),)),),
            )
        )
        return self._of(events.PositionSnapshot, groups=groups)

    def _sale(self) -> events.AnyEvent:
        fields: dict[str, object] = {
            "margin": "cross",
            "asset": "BTC",
            "amount": Decimal(1),
            "for_asset": USDT,
            "proceeds": Decimal(1),
        }
        wrongs: list[dict[str, object]] = [
            {"amount": Decimal(0)},
            {"amount": FINE},
            {"proceeds": Decimal(-1)},
            {"asset": "NONE"},
            {"for_asset": "NONE"},
            {"order_id": "trader-0:1:1:BTC:"},
        ]
        return self._of(events.CollateralSold, **{**fields, **self.chance.choice(wrongs)})

    # --- loans

    def _pool_name(self) -> str:
        assert self.listing.market is not None
        return self.chance.choice(list(self.listing.market.pools))

    def _loan(self) -> events.AnyEvent:
        """Lend, borrow or choose what cannot be."""
        pool, one = self._pool_name(), Decimal(1)
        kind = self.chance.choice((events.Supplied, events.Redeemed, events.Borrow, events.Repay))
        wrongs: list[tuple[type, dict[str, object]]] = [
            (kind, {"pool": "NONE", "amount": one}),
            (kind, {"pool": pool, "amount": Decimal(0)}),
            (kind, {"pool": pool, "amount": -one}),
            (kind, {"pool": pool, "amount": FINE}),
            (kind, {"pool": pool, "amount": one, "margin": "isolated:NONE"}),
            (kind, {"pool": pool, "amount": one, "margin": "isolated"}),
            (events.Supplied, {"pool": pool, "amount": Decimal(6_000_000_000)}),
            (events.Borrow, {"pool": pool, "amount": Decimal(900_000_000)}),
            (events.Redeemed, {"pool": pool, "amount": Decimal(900_000_000)}),
            (events.CollateralEnabled, {"pool": "NONE", "enabled": False}),
            (events.CategoryChosen, {"category": "none"}),
            (events.CategoryChosen, {"category": "", "margin": "isolated:NONE"}),
        ]
        made, fields = self.chance.choice(wrongs)
        return self._of(made, **fields)

    def _seizure(self) -> events.AnyEvent:
        pool, one = self._pool_name(), Decimal(1)
        fields: dict[str, object] = {
            "margin": "cross",
            "pool": pool,
            "repaid": one,
            "collateral": self._pool_name(),
            "seized": one,
        }
        wrongs: list[dict[str, object]] = [
            {"repaid": Decimal(0), "seized": Decimal(0)},
            {"repaid": -one},
            {"seized": -one},
            {"fee": -one},
            {"fee": Decimal(2)},
            {"repaid": FINE},
            {"seized": FINE},
            {"pool": "NONE"},
            {"collateral": "NONE"},
            {"liquidator": "nobody"},
            {"seized": Decimal(900_000_000)},
            {"order_id": f"trader-0:1:9:{pool}"},
            {"margin": "isolated:NONE"},
        ]
        return self._of(events.Seized, **{**fields, **self.chance.choice(wrongs)})

    def _pool(self) -> events.AnyEvent:
        """Take more than a reserve has, or let interest accrue where, or how, it cannot."""
        now, pool = self.history.now, self._pool_name()
        lending, market = self.listing.profile.lending, self.listing.market
        assert lending is not None
        assert market is not None
        if self.chance.random() < 0.4:
            asset, amount = self.chance.choice(
                ((market.pools[pool], Decimal(-1_000_000)), (market.pools[pool], FINE))
            )
            return events.FundMoved(
                time=now,
                shard=0,
                asset=asset,
                amount=amount,
                sequence=self.history.number("fund 0"),
                pool=self.chance.choice((pool, pool, "NONE")),
            )
        low, high = Decimal("0.5"), Decimal(1000)
        venue = lending.pools[pool].accrued_by == "venue"
        supply, borrow = (low, high) if venue else (high, high)
        if venue and self.chance.random() < 0.5:
            supply, borrow = high, self.chance.choice((low, Decimal(0), Decimal("NaN")))
        return events.InterestAccrued(
            time=now,
            pool=self.chance.choice((pool, pool, "NONE")),
            supply_index=supply,
            borrow_index=borrow,
        )

    def _pools_told(self) -> events.AnyEvent:
        """Tell loans that cannot be, list an instrument as a pool, or take pools away."""
        pool, now = self._pool_name(), self.history.now
        wrongs: tuple[dict[str, Decimal], ...] = (
            {"NONE": Decimal(1)},
            {pool: Decimal(-1)},
            {pool: FINE},
            {pool: Decimal(6_000_000_000)},
        )
        what = self.chance.choice(("snapshot", "snapshot", "name", "profile"))
        if what == "name":
            contract = self.chance.choice(list(self.listing.contracts.values()))
            renamed = msgspec.structs.replace(contract, name=pool)
            return events.InstrumentListed(time=now, instrument=renamed)
        if what == "profile":
            return events.ProfileChanged(time=now, profile=self._without_a_pool())
        told = self.chance.choice(wrongs)
        owed = events.GroupSnapshot("cross", owed=told)
        group = self.chance.choice((owed, events.GroupSnapshot("cross", supplied=told)))
        return self._of(events.PositionSnapshot, groups=(group,))

    def _without_a_pool(self) -> RiskProfile:
        """Return the rules without a pool that holds something, or with one of no asset."""
        profile, world = self.listing.profile, self.history.twin.world
        assert profile.lending is not None
        held = [name for name, pool in world.lending.items() if pool.supplied]
        pools = dict(profile.lending.pools)
        if held and self.chance.random() < 0.6:
            del pools[self.chance.choice(held)]
        else:
            pools["more"] = msgspec.structs.replace(next(iter(pools.values())), asset="NONE")
        lending = msgspec.structs.replace(profile.lending, pools=pools, categories={})
        return msgspec.structs.replace(profile, lending=lending)
