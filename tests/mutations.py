"""Planted mistakes: each a change of the engine's source that some test has to catch."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """In `module`, `old` (every place of it) becomes `new`."""

    name: str
    module: str
    old: str
    new: str


MUTATIONS = (
    Mutation(
        "haircut in the bankruptcy price",
        "margin",
        "state.equity * leg.required",
        "state.margin_equity * leg.required",
    ),
    Mutation(
        "cumulative amount dropped",
        "rules",
        "self.rates[place] * notional - self.amounts[place]",
        "self.rates[place] * notional",
    ),
    Mutation("funding sign", "booking", "-rate * exposure", "rate * exposure"),
    Mutation("inverse as linear", "instruments", "if self.inverse:", "if False:"),
    Mutation(
        "wallet pays an isolated loss",
        "steps",
        "        engine.book.set_cash(group, asset, Decimal(0))\n",
        "        engine.book.set_cash(group, asset, Decimal(0))\n"
        "        cross = engine.group_of(group.account.id, 'cross')\n"
        "        taken = min(-amount, max(engine.book.cash_of(cross, asset), Decimal(0)))\n"
        "        if cross is not group and taken:\n"
        "            engine.book.add_cash(cross, asset, -taken)\n"
        "            amount += taken\n"
        "            if not amount:\n"
        "                continue\n",
    ),
    Mutation(
        "fee outside the limit",
        "margin",
        "rules, instrument.taker_fee, instrument.tick",
        "rules, ZERO, instrument.tick",
    ),
    Mutation(
        "equality ignored",
        "margin",
        "return state.margin_equity <= state.maintenance",
        "return state.margin_equity < state.maintenance",
    ),
    Mutation(
        "equality always a breach",
        "margin",
        "return state.margin_equity < state.maintenance",
        "return state.margin_equity <= state.maintenance",
    ),
    Mutation(
        "stop without its buffer",
        "margin",
        "maintenance * (ONE + rules.in_force.trigger.stop_buffer)",
        "maintenance",
    ),
    Mutation(
        "cost rounded for the account",
        "margin",
        "return charge(size * instrument.multiplier * price, unit)",
        "return -charge(-size * instrument.multiplier * price, unit)",
    ),
    Mutation(
        "released cost rounded for the account",
        "fills",
        "charge(cost * abs(size), unit, abs(held))",
        "-charge(-cost * abs(size), unit, abs(held))",
    ),
    Mutation(
        "limits of buys rounded up",
        "margin",
        "_positive(floor_to(worth, step, bottom))",
        "_positive(ceil_to(worth, step, bottom))",
    ),
    Mutation(
        "equity shared by notional",
        "margin",
        "state.equity * leg.required, scale",
        "state.equity * leg.notional, scale",
    ),
    Mutation(
        "haircut on what is owed",
        "rules",
        "ONE - rule.haircut if net > 0 else rule.borrow_weight",
        "ONE - rule.haircut",
    ),
    Mutation(
        "a margin call that is never forgotten",
        "liquidation",
        '({"called": True, "clear": True}, "reset_call")',
        '({"called": True, "clear": True}, "rest")',
    ),
    Mutation(
        "a fund that pays more than it has",
        "waterfall",
        "min(remaining, max(capacity, ZERO))",
        "remaining",
    ),
    Mutation(
        "a fund that pays all or nothing",
        "waterfall",
        "min(remaining, max(capacity, ZERO))",
        "remaining if capacity >= remaining else ZERO",
    ),
    Mutation(
        "a split that loses its remainder",
        "waterfall",
        "parts[names[-1]] = amount - sum(parts.values(), ZERO)",
        "parts[names[-1]] = floor_to(amount * weights[names[-1]], unit, total)",
    ),
    Mutation(
        "a fee that leaves less than nothing",
        "fills",
        "fee = min(fee, credit(max(state.equity, ZERO), asset.unit, price))",
        "fee = min(fee, asset.largest)",
    ),
    Mutation(
        "a sale that falls a unit short",
        "liquidation",
        "charge(need * debt_price, sold.unit, price)",
        "credit(need * debt_price, sold.unit, price)",
    ),
    Mutation("duplicates applied", "core", "if sequence <= last:", "if sequence < last:"),
    Mutation(
        "liquidations do not wait for missing events",
        "situation",
        "return since is not None and (",
        "return since is not None and False and (",
    ),
    Mutation(
        "a halt of one symbol has no effect",
        "rules",
        "self.halted_all or symbol in self.halted",
        "self.halted_all",
    ),
    Mutation(
        "timers a microsecond late", "timers", "self._heap[0].due <= now", "self._heap[0].due < now"
    ),
    Mutation(
        "collateral prices touch nobody",
        "watch",
        "gained = net * np.where(net > 0, owned * step, owed * step)",
        "gained = net * np.where(net > 0, 0.0, owed * step)",
    ),
    Mutation(
        "screens see no price fall",
        "watch",
        "step = table.group[:count], after - before",
        "step = table.group[:count], abs(after - before)",
    ),
    Mutation(
        "an expired order is renewed at its limit", "timers", "or not order.is_sale", "or False"
    ),
    Mutation(
        "losses counted without the fee",
        "fills",
        "fee = event.fee if event.fee_asset == instrument.settle else ZERO",
        "fee = ZERO",
    ),
    Mutation(
        "an account settled at its cost",
        "booking",
        "unit, group.legs[event.symbol], event.price)\n        engine.book.set_leg",
        "unit, group.legs[event.symbol], event.price + 1)\n        engine.book.set_leg",
    ),
    Mutation(
        "clearing takes the same side",
        "fills",
        "engine.clear(event.symbol, instrument.settle, -effect.cash)",
        "engine.clear(event.symbol, instrument.settle, effect.cash)",
    ),
    Mutation(
        "state forgets the stage",
        "state",
        "liquidation.backstop = record.backstop",
        "liquidation.backstop = False",
    ),
    Mutation(
        "state forgets losses beyond bankruptcy prices",
        "state",
        "liquidation.losses = record.losses",
        "liquidation.losses = {}",
    ),
    Mutation(
        "the riskiest last",
        "liquidation",
        "return -1 if here < there else 1",
        "return 1 if here < there else -1",
    ),
)
