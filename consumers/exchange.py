"""The venue's side of the day: openings, and the answers to what the engine decides.

Every trade has a hedger on its other side, so sizes in a market always sum to zero. An answer goes
out with a later tick than what it answers: orders and sales with the next one of their market.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from consumers.feed import Accounts, Clock
from consumers.population import Desk, Hedger, Trader
from engine.decisions import (
    CancelOpenOrders,
    CancelOrder,
    CollateralSale,
    Decision,
    Deleverage,
    LiquidationOrder,
    TakeOver,
)
from engine.events import (
    CROSS,
    AccountOpened,
    CollateralSold,
    Deposit,
    Fill,
    OpenOrders,
    OrderClosed,
    OrdersCancelled,
    PositionEvent,
)
from engine.instruments import Asset, Perpetual
from engine.money import ONE, ZERO, charge, credit, exact
from engine.venue import Conditions, SimulatedMarket, Trade, Working
from engine.waterfall_profile import Waterfall

QUOTE = "USDT"
"""What every market here is quoted and settled in."""

Transfer = TakeOver | Deleverage
Order = LiquidationOrder | CollateralSale | Transfer
Request = Order | CancelOrder

Place = tuple[str, str, str]
"""Whose position: account, margin and symbol."""


class Exchange:
    """Markets, sequences of accounts, open positions, and requests that wait for an answer."""

    def __init__(
        self, assets: Sequence[Asset], perpetuals: Sequence[Perpetual], desk: Desk, clock: Clock
    ) -> None:
        self.perpetuals = {perpetual.name: perpetual for perpetual in perpetuals}
        self.positions: dict[Place, Decimal] = {}
        self._units = {asset.name: asset.unit for asset in assets}
        self._desk = desk
        self._accounts = Accounts(clock)
        self._markets = {
            name: SimulatedMarket(perpetual.price_decimals)
            for name, perpetual in self.perpetuals.items()
        }
        self._fills = 0
        self._orders: dict[str, Order] = {}
        self._requests: dict[str, list[Request]] = {name: [] for name in self.perpetuals}
        self._cancellations: list[CancelOpenOrders] = []
        # What sales of the quote currency have paid, by order id.
        self._paid: dict[str, Decimal] = {}

    # --- openings

    def open_hedger(self, hedger: Hedger, prices: Mapping[str, Decimal]) -> list[PositionEvent]:
        """Bring in a hedger with its collateral; `prices` are the marks."""
        return [
            self._deposit(hedger.account, hedger.asset, hedger.equity, prices),
            AccountOpened(role="market_maker", **self._accounts.stamped(hedger.account)),
        ]

    def open_trader(self, trader: Trader, prices: Mapping[str, Decimal]) -> list[PositionEvent]:
        """Bring in a trader: deposits, then a trade at the mark for each leg."""
        account = trader.account
        found: list[PositionEvent] = [
            self._deposit(account, asset, value, prices) for asset, value in trader.equity.items()
        ]
        for symbol, notional in trader.legs.items():
            mark, lot = prices[symbol], self.perpetuals[symbol].lot
            size = int(notional / float(mark) / float(lot)) * lot
            if size:
                found += self._traded((account, CROSS, symbol), size, mark)
        if trader.own_orders and (account, CROSS, symbol) in self.positions:
            found.append(self._own_orders(account, symbol))
        return found

    def open_takers(self, waterfall: Waterfall) -> list[PositionEvent]:
        """Bring in the accounts that take positions over: the insurance fund's, and the backstop's
        with as much cash as it may hold positions."""
        found: list[PositionEvent] = []
        if waterfall.fund_account:
            stamped = self._accounts.stamped(waterfall.fund_account)
            found.append(AccountOpened(role="fund", **stamped))
        if waterfall.backstop is not None:
            account = waterfall.backstop.account
            stamped = self._accounts.stamped(account)
            found.append(AccountOpened(role="backstop", **stamped))
            amount = credit(waterfall.backstop.capacity, self._units[QUOTE])
            stamped = self._accounts.stamped(account)
            found.append(Deposit(asset=QUOTE, amount=amount, **stamped))
        return found

    def _deposit(
        self, account: str, asset: str, value: float, prices: Mapping[str, Decimal]
    ) -> Deposit:
        price = prices[f"{asset}USDT"] if asset != "USDT" else Decimal(1)
        amount = Decimal(round(value / float(price) * 10**6)).scaleb(-6)
        return Deposit(asset=asset, amount=amount, **self._accounts.stamped(account))

    def _own_orders(self, account: str, symbol: str) -> OpenOrders:
        """Rest an order that would close the position."""
        size = self.positions[account, CROSS, symbol]
        return OpenOrders(
            symbol=symbol,
            margin=CROSS,
            buy_size=max(ZERO, -size),
            sell_size=max(ZERO, size),
            **self._accounts.stamped(account),
        )

    # --- requests and answers

    def hear(self, decision: Decision) -> None:
        """Take in what the engine asks of the venue; other decisions ask nothing."""
        if isinstance(decision, Order):
            self._orders[decision.order_id] = decision
            self._requests[_market_of(decision)].append(decision)
        elif isinstance(decision, CancelOrder):
            order = self._orders.get(decision.order_id)
            if order is not None:
                self._requests[_market_of(order)].append(decision)
        elif isinstance(decision, CancelOpenOrders):
            self._cancellations.append(decision)

    def cancelled(self) -> list[PositionEvent]:
        """Return the answers to every `CancelOpenOrders` heard so far."""
        found: list[PositionEvent] = [
            OrdersCancelled(margin=request.margin, **self._accounts.stamped(request.account))
            for request in self._cancellations
        ]
        self._cancellations.clear()
        return found

    def session(self, symbol: str, now: Conditions) -> list[PositionEvent]:
        """Trade what rests in a market, then answer its requests in order of arrival."""
        market, requests = self._markets[symbol], self._requests[symbol]
        found: list[PositionEvent] = []
        if market.working:
            for trade in market.match(now):
                found += self._executed(trade)
        if requests:
            self._requests[symbol] = []
            for request in requests:
                found += self._answered(market, request, now)
        return found

    def _answered(
        self, market: SimulatedMarket, request: Request, now: Conditions
    ) -> list[PositionEvent]:
        if isinstance(request, CancelOrder):
            working = market.cancel(request.order_id)
            if working is None:
                return []
            filled = self._paid.get(request.order_id, working.filled)
            return [self._closed(request.order_id, filled, "cancelled")]
        if isinstance(request, Transfer):
            return self._transferred(market, request)
        if isinstance(request, LiquidationOrder):
            lot, limit = self.perpetuals[request.symbol].lot, request.limit_price
            size = self._reducible(market, request)
        elif request.asset == QUOTE:
            lot = self._units[request.for_asset]
            size, limit = self._bought_for(request, _market_of(request))
        else:
            lot, size, limit = self._units[request.asset], -request.amount, request.limit_price
        if not size:
            return [self._closed(request.order_id, ZERO, "nothing to reduce")]
        trade = market.submit(Working(request.order_id, size, limit, lot), now)
        return self._executed(trade) if trade is not None else []

    @exact
    def _bought_for(self, sale: CollateralSale, symbol: str) -> tuple[Decimal, Decimal]:
        """Return how much of a coin a sale of the quote currency buys at its limit, and the limit
        as a price of the coin."""
        self._paid[sale.order_id] = ZERO
        size = credit(sale.amount * sale.limit_price, self._units[sale.for_asset])
        return size, credit(ONE, self.perpetuals[symbol].price_unit, sale.limit_price)

    def _reducible(self, market: SimulatedMarket, order: LiquidationOrder | Transfer) -> Decimal:
        """Return the signed size that reduces what the group has open and nobody closes yet."""
        free = self._free(market, (order.account, order.margin, order.symbol))
        if (free > 0) != (order.side == "sell"):
            return ZERO
        return min(order.size, abs(free)).copy_sign(-free)

    def _free(self, market: SimulatedMarket, place: Place) -> Decimal:
        """Return the signed size of a position that no working order closes."""
        account, margin, _ = place
        open_size = self.positions.get(place, ZERO)
        closing = sum(
            (
                other.left
                for other in market.working.values()
                if _closes(self._orders[other.order_id], account, margin)
            ),
            ZERO,
        )
        return max(ZERO, abs(open_size) - closing).copy_sign(open_size)

    def _transferred(self, market: SimulatedMarket, transfer: Transfer) -> list[PositionEvent]:
        """Close a position against who is to take it, without the market and free of fees.

        The taker's fill goes first: between the two the same size is not asked of it again.
        """
        order_id, price = transfer.order_id, transfer.price
        ours = (transfer.account, transfer.margin, transfer.symbol)
        theirs = (*_counterparty(transfer), transfer.symbol)
        size = self._transferable(market, transfer, theirs)
        if not size:
            return [self._closed(order_id, ZERO, "nothing to transfer")]
        found: list[PositionEvent] = [
            self._fill(theirs, -size, price, ZERO),
            self._fill(ours, size, price, ZERO, order_id),
        ]
        for (account, _, symbol), part in ((ours, size), (theirs, -size)):
            self._desk.note(account, symbol, part, self.perpetuals[symbol].lot)
        if abs(size) < transfer.size:
            found.append(self._closed(order_id, abs(size), "no more to transfer"))
        return found

    def _transferable(self, market: SimulatedMarket, transfer: Transfer, theirs: Place) -> Decimal:
        """Return the signed size that goes over; who takes it by closing a position of its own
        gives no more than is open."""
        size = self._reducible(market, transfer)
        if isinstance(transfer, TakeOver) and transfer.layer != "netting":
            return size
        free = self._free(market, theirs)
        opposite = abs(free) if free * size > 0 else ZERO
        return min(abs(size), opposite).copy_sign(size)

    def _executed(self, trade: Trade) -> list[PositionEvent]:
        order = self._orders[trade.order_id]
        if isinstance(order, CollateralSale) and order.asset == QUOTE:
            return self._coin_bought(order, trade)
        if isinstance(order, CollateralSale):
            return [self._sold(order, trade)]
        place = (order.account, order.margin, order.symbol)
        return self._traded(place, trade.size, trade.price, trade.order_id)

    def _sold(self, sale: CollateralSale, trade: Trade) -> CollateralSold:
        amount = abs(trade.size)
        return CollateralSold(
            margin=sale.margin,
            asset=sale.asset,
            amount=amount,
            for_asset=sale.for_asset,
            proceeds=credit(amount * trade.price, self._units[sale.for_asset]),
            order_id=sale.order_id,
            **self._accounts.stamped(sale.account),
        )

    def _coin_bought(self, sale: CollateralSale, trade: Trade) -> list[PositionEvent]:
        """Pay for a coin with the quote currency; what is left when all is bought stays unsold."""
        left = sale.amount - self._paid[sale.order_id]
        amount = min(left, charge(trade.size * trade.price, self._units[QUOTE]))
        self._paid[sale.order_id] += amount
        found: list[PositionEvent] = [
            CollateralSold(
                margin=sale.margin,
                asset=QUOTE,
                amount=amount,
                for_asset=sale.for_asset,
                proceeds=trade.size,
                order_id=sale.order_id,
                **self._accounts.stamped(sale.account),
            )
        ]
        if sale.order_id not in self._markets[_market_of(sale)].working:
            found.append(self._closed(sale.order_id, self._paid[sale.order_id], "bought"))
        return found

    def _closed(self, order_id: str, filled: Decimal, reason: str) -> OrderClosed:
        account = self._orders[order_id].account
        return OrderClosed(
            order_id=order_id, filled_size=filled, reason=reason, **self._accounts.stamped(account)
        )

    # --- trades

    def _traded(
        self, place: Place, size: Decimal, price: Decimal, order_id: str = ""
    ) -> list[PositionEvent]:
        """Book a trade: the account pays the taker fee, hedgers on the other side pay none."""
        account, _, symbol = place
        perpetual = self.perpetuals[symbol]
        notional = abs(size) * price
        fee = charge(notional * perpetual.taker_fee, self._units[perpetual.settle])
        found: list[PositionEvent] = [self._fill(place, size, price, fee, order_id)]
        dealt = self._desk.deal(symbol, size, float(notional), perpetual.lot, account)
        for hedger, part in dealt:
            found.append(self._fill((hedger, CROSS, symbol), part, price, ZERO))
        return found

    def _fill(
        self, place: Place, size: Decimal, price: Decimal, fee: Decimal, order_id: str = ""
    ) -> Fill:
        account, margin, symbol = place
        self._fills += 1
        self.positions[place] = self.positions.get(place, ZERO) + size
        return Fill(
            symbol=symbol,
            margin=margin,
            size=size,
            price=price,
            fee=fee,
            fee_asset=self.perpetuals[symbol].settle,
            fill_id=str(self._fills),
            order_id=order_id,
            **self._accounts.stamped(account),
        )


def _counterparty(transfer: Transfer) -> tuple[str, str]:
    """Return account and margin of who takes the position."""
    if isinstance(transfer, TakeOver):
        return transfer.taker, transfer.taker_margin
    return transfer.counterparty, transfer.counterparty_margin


def _closes(order: Order, account: str, margin: str) -> bool:
    """Tell whether an order closes a position of a group."""
    return isinstance(order, LiquidationOrder) and (order.account, order.margin) == (
        account,
        margin,
    )


def _market_of(order: Order) -> str:
    """Return where an order is worked: coins are sold and bought where their perpetual trades."""
    if not isinstance(order, CollateralSale):
        return order.symbol
    return f"{order.for_asset if order.asset == QUOTE else order.asset}{QUOTE}"
