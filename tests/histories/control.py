"""What operators do: list, change rules, halt, settle, move the fund, send funding rates."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from engine import events
from engine.instruments import Option
from engine.money import EXACT
from tests.histories.contradictions import contradicted
from tests.histories.lending_rules import draw_lending
from tests.histories.listing import NAMELESS, USDT, quantity
from tests.histories.rules import draw_profile
from tests.histories.waterfall_rules import GROUPS
from tests.twin.amounts import decimal, floor
from tests.twin.facts import holders
from tests.twin.funds import outstanding
from tests.twin.pools import indices, pool_names

if TYPE_CHECKING:
    from tests.histories.history import History


class Control:
    """The operators of the venue."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.chance = history.chance
        self.listing = history.listing

    def open(self) -> None:
        """List everything in an order that is accepted; the fund begins small."""
        profile = self.listing.profile
        if self.chance.random() < 0.1:
            self._send(
                events.InstrumentListed, instrument=next(iter(self.listing.contracts.values()))
            )
        for asset in self.listing.assets.values():
            self._send(events.InstrumentListed, instrument=asset)
        self._send(events.ProfileChanged, profile=profile)
        for contract in self.listing.contracts.values():
            self._send(events.InstrumentListed, instrument=contract)
        if self.chance.random() < 0.7:
            self._do(self._fund)
        if self.history.controls:
            for name in self.listing.contracts:
                self._do(partial(self._interest_in, name))
        for make in (self._interest, self._pool, self._pool):
            if self.chance.random() < 0.7:
                self._do(make)

    def act(self) -> None:
        """Do something."""
        acts: dict[Callable[[], events.AnyEvent], float] = {
            self._fund: 0.3,
            self._rate: 0.25,
            self._halt: 0.3,
            self._settle: 0.04,
            self._expire: 0.5,
            self._interest: 0.1,
            self._pool: 0.1,
            self._pass: 0.1,
            self._rules: 0.1,
            self._relist: 0.06,
        }
        self._do(self.chance.choices(list(acts), list(acts.values()))[0])

    def act_on_pools(self) -> None:
        """Do something about a pool."""
        acts: dict[Callable[[], events.AnyEvent], float] = {
            self._reserve: 0.25,
            self._stop_pool: 0.3,
            self._accrue: 0.5,
            self._wait: 0.2,
        }
        self._do(self.chance.choices(list(acts), list(acts.values()))[0])

    def act_on_losses(self) -> None:
        """Do something about a fund, or about what nobody paid."""
        acts: dict[Callable[[], events.AnyEvent], float] = {
            self._named_fund: 0.35,
            self._recover: 0.35,
            self._session: 0.15,
            self._interest: 0.15,
        }
        self._do(self.chance.choices(list(acts), list(acts.values()))[0])

    def _named_fund(self) -> events.AnyEvent:
        """Move one fund or another, more than a little."""
        symbol = self.chance.choice(list(self.listing.contracts))
        asset = self.listing.contracts[symbol].settle
        name = self.chance.choice(("", symbol, symbol, *GROUPS))
        worth = self.chance.choice((20, 300, 2000, -30)) * self.chance.uniform(0.5, 2)
        amount = worth / self.history.market.prices.get(asset, 1.0)
        return self._of(
            events.FundMoved,
            shard=self.chance.choice((0, 0, 0, 0, 1)),
            asset=asset,
            amount=quantity(amount, self.listing.assets[asset].decimals),
            fund=name,
            sequence=self.history.number("fund 0"),
        )

    def _recover(self) -> events.AnyEvent:
        """Let bad debt come in after all, or give it up; sometimes more than there is."""
        world = self.history.twin.world
        unpaid = {key: outstanding(world, *key) for key in world.ledger.bad_debt}
        open_keys = [key for key, amount in unpaid.items() if amount > 0]
        asset, market = self.chance.choice(open_keys or [(USDT, USDT)])
        unit = world.unit(asset)
        share = Fraction(self.chance.choice((0.1, 0.5, 1, 1, 1.01)))
        amount = max(unit, floor(unpaid.get((asset, market), unit) * share, unit))
        return self._of(
            self.chance.choice((events.Recovered, events.Recovered, events.WrittenOff)),
            shard=self.chance.choice((0, 0, 0, 0, 1)),
            asset=asset,
            market=market,
            amount=decimal(amount),
            sequence=self.history.number("fund 0"),
        )

    def _session(self) -> events.AnyEvent:
        return self._of(events.SessionClosed)

    def _pool_name(self) -> str:
        assert self.listing.market is not None
        return self.chance.choice(list(self.listing.market.pools))

    def _reserve(self) -> events.AnyEvent:
        name, market = self._pool_name(), self.listing.market
        assert market is not None
        asset, price = market.pools[name], self.history.market.prices.get(market.pools[name], 1.0)
        worth = self.chance.choice((5, 40, -5)) * self.chance.uniform(0.5, 2)
        return self._of(
            events.FundMoved,
            shard=self.chance.choice((0, 0, 0, 1)),
            asset=asset,
            amount=quantity(worth / price, self.listing.assets[asset].decimals),
            pool=name,
            sequence=self.history.number("fund 0"),
        )

    def _stop_pool(self) -> events.AnyEvent:
        name = self._pool_name()
        pause = int(self.chance.uniform(0.2e6, 12e6))
        self.history.schedule(pause, lambda: self._of(events.Resume, symbol=name))
        return self._of(events.Halt, symbol=name, reason="a drill")

    def _accrue(self) -> events.AnyEvent:
        """Tell the indices of a pool whose interest the venue accrues, if there is one."""
        lending, world = self.listing.profile.lending, self.history.twin.world
        assert lending is not None
        told = [name for name, rule in lending.pools.items() if rule.accrued_by == "venue"]
        if not told or not pool_names(world):
            return self._wait()
        name = self.chance.choice(told)
        supply, borrow = map(decimal, indices(world, name))
        grown = self.chance.choice((0, 0.0001, 0.01, 0.2))
        return self._of(
            events.InterestAccrued,
            pool=name,
            supply_index=self._grown(supply, grown * self.chance.random()),
            borrow_index=self._grown(borrow, grown),
        )

    def _grown(self, index: Decimal, by: float) -> Decimal:
        with localcontext(EXACT):
            return index + quantity(by, self.chance.choice((4, 9)))

    def _wait(self) -> events.AnyEvent:
        """Let interest run for minutes, hours or days."""
        self.history.now += self.chance.choice((60, 3_600, 3_600, 86_400)) * 1_000_000
        return self._of(events.TimePassed)

    def _do(self, make: Callable[[], events.AnyEvent]) -> None:
        self.history.queue.append(make)

    def _send(self, kind: type[Any], **fields: Any) -> None:
        self._do(lambda: self._of(kind, **fields))

    def _of(self, kind: type[Any], **fields: Any) -> events.AnyEvent:
        event: events.AnyEvent = kind(time=self.history.time(), **fields)
        return event

    def _fund(self) -> events.AnyEvent:
        asset = self.chance.choice([name for name in self.listing.assets if name != NAMELESS])
        if self.chance.random() < 0.6:
            asset = USDT
        price = self.history.market.prices.get(asset, 1.0)
        worth = self.chance.choice((5, 20, 60, -5, -20)) * self.chance.uniform(0.5, 2)
        amount = quantity(worth / price, self.listing.assets[asset].decimals)
        shard = self.chance.choice((0, 0, 0, 0, 1))
        number = self.history.number(f"fund {shard}")
        return self._of(events.FundMoved, shard=shard, asset=asset, amount=amount, sequence=number)

    def _rate(self) -> events.AnyEvent:
        symbol = self.chance.choice(list(self.listing.contracts))
        rate = Decimal(self.chance.choice(("0", "0.0001", "-0.0003", "0.0100001", "-0.02")))
        number = self.history.number(f"funding {symbol}")
        return self._of(events.FundingRate, symbol=symbol, rate=rate, sequence=number)

    def _halt(self) -> events.AnyEvent:
        symbol = self.chance.choice(["", *self.listing.contracts])
        pause = int(self.chance.uniform(0.2e6, 8e6))
        self.history.schedule(pause, lambda: self._of(events.Resume, symbol=symbol))
        return self._of(events.Halt, symbol=symbol, reason="a drill")

    def _settle(self) -> events.AnyEvent:
        return self._settled(self.chance.choice(list(self.listing.contracts)))

    def _expire(self) -> events.AnyEvent:
        """Settle an option that somebody holds, if there is one."""
        world = self.history.twin.world
        options = [each for each in self.listing.contracts.values() if isinstance(each, Option)]
        held = [each.name for each in options if holders(world, each.name)]
        return self._settled(self.chance.choice(held)) if held else self._interest()

    def _settled(self, symbol: str) -> events.AnyEvent:
        decimals = self.listing.contracts[symbol].price_decimals
        price = self.history.market.prices[self.listing.underlying[symbol]]
        price *= self.chance.uniform(0.95, 1.05)
        return self._of(events.Settled, symbol=symbol, price=quantity(price, decimals))

    def _interest(self) -> events.AnyEvent:
        return self._interest_in(self.chance.choice(list(self.listing.contracts)))

    def _interest_in(self, symbol: str) -> events.AnyEvent:
        contract = self.listing.contracts[symbol]
        coin = self.history.market.prices[self.listing.underlying[symbol]]
        each = 1.0 if contract.inverse else coin
        sizes = (
            quantity(self.chance.uniform(0, 4e6) / each, contract.size_decimals) for _ in range(2)
        )
        long_size, short_size = sizes
        return self._of(
            events.MarketState, symbol=symbol, long_size=long_size, short_size=short_size
        )

    def _pool(self) -> events.AnyEvent:
        asset = self.chance.choice(list(self.listing.assets))
        decimals = self.listing.assets[asset].decimals
        price = self.history.market.prices.get(asset, 1.0)
        supplied = self.chance.uniform(0, 5e6) / price
        return self._of(
            events.PoolState,
            pool=asset,
            supplied=quantity(supplied, decimals),
            borrowed=quantity(supplied * self.chance.random(), decimals),
        )

    def _pass(self) -> events.AnyEvent:
        self.history.now += self.chance.randrange(4_000_000)
        return self._of(events.TimePassed)

    def _rules(self) -> events.AnyEvent:
        """Send the rules again, others, or some that contradict themselves."""
        profile = self.listing.profile
        if self.chance.random() < 0.6:
            drawn = draw_profile(self.chance, self.listing.assets, self.listing.contracts)
            if self.listing.market is not None:
                lending = draw_lending(self.chance, self.listing.market)
                drawn = msgspec.structs.replace(drawn, lending=lending)
            drawn = self.history.ruled(drawn)
            self.listing.profile = profile = drawn
        elif self.chance.random() < 0.5:
            profile = contradicted(self.chance, profile)
        return self._of(events.ProfileChanged, profile=profile)

    def _relist(self) -> events.AnyEvent:
        """List something again, as it is, with other terms, or with terms that may not change."""
        instrument = self.chance.choice(list(self.listing.contracts.values()))
        changes: list[dict[str, Any]] = [
            {},
            {"taker_fee": Decimal("0.001")},
            {"settle": NAMELESS},
            {"multiplier": Decimal(3)},
            {"size_decimals": instrument.size_decimals + 1},
        ]
        if isinstance(instrument, Option):
            changes.append({"strike": instrument.strike + 1})
        changed = msgspec.structs.replace(instrument, **self.chance.choice(changes))
        if changed == msgspec.structs.replace(instrument, taker_fee=changed.taker_fee):
            self.listing.contracts[changed.name] = changed
        return self._of(events.InstrumentListed, instrument=changed)
