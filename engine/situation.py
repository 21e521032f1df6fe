"""What is true of a margin group: the booleans that the tables of `liquidation` are read with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from engine.book import Account, Group
from engine.decisions import StartReason, Waits
from engine.events import CROSS
from engine.lending import WholeAccount
from engine.margin import Health, breached, restored
from engine.money import ONE, ZERO
from engine.pace import held_back
from engine.planning import presses, pressing_below
from engine.profile import Threshold
from engine.recourse import backs, lost, plan_draws
from engine.repayment import has_pair, plan_auction
from engine.repayment import held_back as seizure_held_back
from engine.rules import Rules

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.liquidation import Auction, Order

Reason = StartReason | Literal["idle"]


class Situation(NamedTuple):
    """What is true of a group, each a function of state."""

    protected: bool  # its account's role is never liquidated
    legs: bool  # it has a leg
    owes: bool  # some cash is negative
    indebted: bool  # it owes a pool
    convertible: bool  # it owns something that the profile converts
    backed: bool  # it supplied something that counts
    drawable: bool  # it lent something that the profile converts to a pool that can pay
    gap: bool  # its account waits for missing events
    blocked: bool  # by a halt or a gap
    waiting: bool  # blocked, and already noted as such
    held: bool  # noted as blocked, and is so no more
    priced: bool  # its health is known
    breached: bool  # margin equity below maintenance
    restored: bool  # margin equity at or above the stop requirement
    overdrawn: bool  # some cash is below −auto_convert_below
    strained: bool  # at or above the threshold at which own orders are cancelled
    eased: bool  # not exposed, or below the threshold at which that may happen again
    told: bool  # the venue was told to cancel own orders
    resting: bool  # it has own open orders
    called: bool  # a margin call is out
    near: bool  # at or above the margin call threshold
    clear: bool  # not exposed, or below the reset threshold
    opened: bool  # own open orders were told to go
    judged: bool  # by its health: it has a leg, owes a pool, or was not opened yet
    awaiting: bool  # their cancellation is not confirmed yet
    live: bool  # some order or sale is live
    cooling: bool  # its next orders wait for a time
    toxic: bool  # its next seizure would lower health, and is held back for that
    noted: bool  # already noted as promised, as cooling, or as held back
    uncancelled: bool  # some order or sale is not yet cancelling
    halted_live: bool  # some live order, not yet cancelling, is under a halt
    orders_live: bool  # some order or seizure (not sale) is not yet cancelling
    auctions: bool  # something of it is on auction
    settable: bool  # its own cash can repay a pool
    seizable: bool  # there is a debt and a collateral to take for it, and room for an auction
    full: bool  # there are both, and no room for an auction
    capped: bool  # already noted as waiting for room
    sellable: bool  # it owns something to convert into what it owes to pools
    lost: bool  # nothing is left that could repay a pool
    early: bool  # its orders are held back, and not to be planned anew yet
    promised: bool  # somebody else's live transfer closes one of its legs


class Outlook(NamedTuple):
    """What can be done about the debts of a group to pools, with the names of `Situation`."""

    settable: bool = False
    seizable: bool = False
    full: bool = False
    toxic: bool = False
    sellable: bool = False
    lost: bool = False


NO_LOANS = Outlook()

LEAST_CRITICAL = Decimal("0.001")
"""Below it a critical ratio is no threshold that a screen could find without looking at all."""


class Thresholds(NamedTuple):
    """Maintenance over margin equity at which a group is to be looked at again; NaN for never."""

    rise: float
    fall: float


def reason_of(group: Group) -> Reason:
    """Return which table a group is read with."""
    return group.liquidation.reason if group.liquidation else "idle"


def waits_for_gap(engine: Engine, account: Account) -> bool:
    """Tell whether an account still waits for events that are missing."""
    since = account.gap_since
    return since is not None and (
        engine.time < since + engine.rules.in_force.liquidation.gap_timeout
    )


def block_of(engine: Engine, group: Group) -> Waits:
    """Return why a group's orders have to wait, if they do."""
    rules = engine.rules
    if rules.halted_all:
        return "halted"
    if rules.halted:
        needed = group.symbols or debts_of(group)
        if needed and all(symbol in rules.halted for symbol in needed):
            return "halted"
    return "gap" if waits_for_gap(engine, group.account) else ""


def debts_of(group: Group) -> list[str]:
    """Return the pools that a group owes, by name."""
    return [pool for pool, loan in group.loans.items() if loan.owed]


def under_halt(order: Order, rules: Rules) -> bool:
    """Tell whether a halt covers a live order (its symbol), seizure (one of its pools) or sale
    (everything)."""
    if order.is_sale:
        return rules.halted_all
    return rules.halts(order.symbol) or (order.is_seizure and rules.halts(order.collateral))


def owed_assets(cash: dict[str, Decimal], reason: Reason, rules: Rules) -> list[str]:
    """Return the assets owed, by name; of an automatic conversion only those that convert by
    rule."""
    owed = [asset for asset, amount in cash.items() if amount < 0]
    if reason != "auto_convert":
        return owed
    collateral = rules.in_force.collateral_of
    return [asset for asset in owed if collateral(asset).auto_convert_below is not None]


def owed_to_pools(state: Health) -> dict[str, Decimal]:
    """Return what a group owes to pools by asset, by name."""
    owed: dict[str, Decimal] = {}
    for loan in state.loans:
        if loan.owed:
            owed[loan.asset] = owed.get(loan.asset, ZERO) + loan.owed
    return dict(sorted(owed.items()))


def situation_of(engine: Engine, group: Group, state: Health | None) -> Situation:
    """Return what is true of a group whose health is `state` (none: unpriced)."""
    liquidation = group.liquidation
    legs, live = bool(group.symbols), bool(liquidation and liquidation.orders)
    indebted = engine.rules.lending is not None and _indebted(group, state)
    outlook = NO_LOANS
    if indebted and state and liquidation and liquidation.reason == "breach" and not (legs or live):
        outlook = _outlook(engine, group, state)
    return Situation(
        legs=legs,
        indebted=indebted,
        live=live,
        **_standing(engine, group, state, indebted=indebted),
        **_cash(engine, group, state, legs=legs),
        **_levels(engine.rules, group, state),
        **_orders(engine.rules, group),
        **_pauses(engine, group, state, toxic=outlook.toxic),
        **outlook._asdict(),
    )


def _standing(
    engine: Engine, group: Group, state: Health | None, *, indebted: bool
) -> dict[str, bool]:
    """Return what may hold a group back or end its liquidation, whatever it holds."""
    rules, liquidation = engine.rules, group.liquidation
    block, waits = block_of(engine, group), liquidation.waits if liquidation else ""
    opened = liquidation is not None and liquidation.opened
    return {
        "protected": group.account.protected,
        "gap": waits_for_gap(engine, group.account),
        "blocked": bool(block),
        "waiting": bool(block) and waits == block,
        "held": not block and waits in ("halted", "gap"),
        "capped": waits == "capped",
        "opened": opened,
        "judged": bool(group.symbols) or indebted or not opened,
        "restored": (
            liquidation is not None
            and state is not None
            and restored(state, group.holdings, rules, engine.markets)
            and not (indebted and opened and takes_whole_accounts(rules))
        ),
    }


def _cash(engine: Engine, group: Group, state: Health | None, *, legs: bool) -> dict[str, bool]:
    """Return what is true of what a group owns and owes, beside legs and debts to pools."""
    rules, cash = engine.rules, state.cash if state else group.cash
    owes, convertible = bool(owed_assets(cash, reason_of(group), rules)), _convertible(cash, rules)
    alone = owes and rules.lending is not None and not (legs or convertible)
    return {
        "owes": owes,
        "convertible": convertible,
        "backed": alone and backs(group.holdings, rules),
        "drawable": alone
        and bool(state and plan_draws(state, group.holdings, rules, engine.markets)),
        "overdrawn": group.margin == CROSS and _overdrawn(cash, rules),
    }


def _levels(rules: Rules, group: Group, state: Health | None) -> dict[str, bool]:
    """Return which thresholds a health is beyond, and which of them were told."""
    near, clear = _against(rules.in_force.margin_call, state)
    strained, eased = _against(rules.in_force.cancel_orders, state)
    return {
        "priced": state is not None,
        "breached": state is not None and breached(state, rules),
        "near": near,
        "clear": clear,
        "strained": strained,
        "eased": eased,
        "called": group.called,
        "told": group.orders_told,
    }


def _orders(rules: Rules, group: Group) -> dict[str, bool]:
    """Return what is true of a group's own orders, and of its liquidation's."""
    liquidation = group.liquidation
    live = liquidation.orders.values() if liquidation else ()
    active = [order for order in live if order.cancelling_until is None]
    return {
        "resting": bool(group.open_orders),
        "awaiting": liquidation is not None and liquidation.awaiting_until is not None,
        "uncancelled": bool(active),
        "halted_live": any(under_halt(order, rules) for order in active),
        "orders_live": any(not order.is_sale for order in active),
        "auctions": liquidation is not None and bool(liquidation.auctions),
    }


def _pauses(engine: Engine, group: Group, state: Health | None, *, toxic: bool) -> dict[str, bool]:
    """Return why the next orders of a group with legs wait, and whether that, or a seizure that
    would be `toxic`, is noted."""
    waits = group.liquidation.waits if group.liquidation else ""
    early = bool(group.symbols) and held_back(engine, group, state)
    promised = bool(group.symbols) and _promised(engine, group)
    cooling = bool(group.symbols) and not early and _cools(engine, group, state)
    pause: Waits = "promised" if promised else "cooldown" if cooling else "toxic"
    return {"early": early, "promised": promised, "cooling": cooling, "noted": waits == pause}


def _cools(engine: Engine, group: Group, state: Health | None) -> bool:
    rules, liquidation = engine.rules, group.liquidation
    if state is None or liquidation is None or liquidation.orders or not liquidation.opened:
        return False
    until = liquidation.cooling_until
    if until is None or engine.time >= until:
        return False
    return not presses(state, rules, liquidation)


def _promised(engine: Engine, group: Group) -> bool:
    return any(symbol in group.symbols for symbol, _ in engine.transfers.against(group.key))


def takes_whole_accounts(rules: Rules) -> bool:
    """Tell whether a liquidation of loans goes on until nothing is owed."""
    return rules.lending is not None and isinstance(rules.lending.repay, WholeAccount)


def _convertible(cash: dict[str, Decimal], rules: Rules) -> bool:
    return any(cash.get(asset, ZERO) > 0 for asset in rules.in_force.conversion)


def _indebted(group: Group, state: Health | None) -> bool:
    if state is None:
        return bool(debts_of(group))
    return any(loan.owed for loan in state.loans)


def live_auctions(engine: Engine) -> Iterator[Auction]:
    """Yield every live auction."""
    for group in engine.liquidating:
        if group.liquidation is not None:
            yield from group.liquidation.auctions.values()


def _outlook(engine: Engine, group: Group, state: Health) -> Outlook:
    """Return what can be done about the loans of a group without legs and without live orders."""
    rules, markets, holdings = engine.rules, engine.markets, group.holdings
    owed = owed_to_pools(state)
    settable = any(state.cash.get(asset, ZERO) > 0 for asset in owed)
    paired = has_pair(state, holdings, rules, markets)
    room = paired
    if rules.lending is not None and rules.lending.auction is not None:
        live = live_auctions(engine)
        room = plan_auction(state, holdings, rules, markets, live) is not None
    sellable = {asset: amount for asset, amount in state.cash.items() if asset not in owed}
    hopeless = not settable and not _convertible(state.cash, rules)
    return Outlook(
        settable=settable,
        seizable=room,
        full=paired and not room,
        toxic=paired and not settable and seizure_held_back(state, holdings, rules, markets),
        sellable=_convertible(sellable, rules),
        lost=hopeless and bool(lost(state, holdings, rules, paired=paired)),
    )


def _overdrawn(cash: dict[str, Decimal], rules: Rules) -> bool:
    limits = rules.in_force.collateral_of
    for asset, amount in cash.items():
        limit = limits(asset).auto_convert_below if amount < 0 else None
        if limit is not None and amount < -limit:
            return True
    return False


def _against(threshold: Threshold | None, state: Health | None) -> tuple[bool, bool]:
    """Return whether a threshold is crossed, and whether it may be crossed anew after this."""
    if state is None:
        return False, False
    if not state.exposed:
        return False, True
    if threshold is None:
        return False, True
    near = state.maintenance >= threshold.at * state.margin_equity
    return near, state.maintenance < threshold.reset * state.margin_equity


def standing_of(group: Group, state: Health | None) -> str:
    """Return what a group is counted as, one of `watch.STANDINGS`."""
    if group.liquidation is not None:
        return group.liquidation.waits or "liquidating"
    if state is None:
        return "unpriced"
    return "called" if group.called else "healthy"


def thresholds_of(situation: Situation, group: Group, rules: Rules) -> Thresholds:
    """Return what a price has to do to a group to make its next step another."""
    profile, reason = rules.in_force, reason_of(group)
    if reason == "idle":
        if situation.protected or not (situation.legs or situation.owes or situation.indebted):
            return Thresholds(math.nan, math.nan)
        rise, fall = 1.0, math.nan
        if not group.called:
            rise = float(profile.margin_call.at)
        else:
            fall = float(profile.margin_call.reset)
        if profile.cancel_orders is not None:
            if group.orders_told:
                reset = float(profile.cancel_orders.reset)
                fall = reset if math.isnan(fall) else max(fall, reset)
            elif group.open_orders:
                rise = min(rise, float(profile.cancel_orders.at))
        return Thresholds(rise, fall)
    if reason == "breach" and (situation.indebted or situation.auctions) and not situation.live:
        # What can be seized, what is lost, and in which order: all of it goes by prices. So does
        # whether a group that is restored, and stays for its auctions, still is.
        return Thresholds(math.nan, math.inf)
    if reason == "breach" and (situation.orders_live or not situation.live):
        return Thresholds(_critical_ratio(situation, rules), _stop_ratio(situation, rules))
    if reason == "auto_convert" and not situation.live:
        return Thresholds(1.0, math.nan)
    return Thresholds(math.nan, math.nan)


def _critical_ratio(situation: Situation, rules: Rules) -> float:
    """Return maintenance over margin equity at which the next orders do not wait any longer."""
    below = pressing_below(rules)
    return 1.0 / float(below) if situation.cooling and below >= LEAST_CRITICAL else math.nan


def _stop_ratio(situation: Situation, rules: Rules) -> float:
    """Return maintenance over margin equity at which liquidation may stop; infinite, so that every
    price is looked at, where what comes next is no matter of these two."""
    profile, trigger = rules.in_force, rules.in_force.trigger
    by_maintenance = trigger.stop_at == "maintenance"
    plain = by_maintenance and not trigger.stop_notional_buffer
    if not (plain or profile.lending is None):
        return math.inf
    if situation.cooling and pressing_below(rules) < LEAST_CRITICAL:
        return math.inf
    # What stops by initial margin is not breached besides: nearer than that nothing is to be seen.
    return 1.0 / float(ONE + trigger.stop_buffer) if by_maintenance else 1.0
