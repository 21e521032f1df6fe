"""Planted mistakes: each a change of the engine's source that some test has to catch."""

from tests.mutation import Mutation

MUTATIONS = (
    Mutation(
        "haircut in the bankruptcy price",
        "closing",
        "state.equity * part * value.divisor",
        "state.margin_equity * part * value.divisor",
    ),
    Mutation(
        "cumulative amount dropped",
        "requirement",
        "return self.rates[place] * at.notional - amount",
        "return self.rates[place] * at.notional",
    ),
    Mutation("funding sign", "booking", "-rate * exposure", "rate * exposure"),
    Mutation("inverse as linear", "instruments", "if self.inverse:", "if False:"),
    Mutation(
        "wallet pays an isolated loss",
        "shortfalls",
        "        engine.book.set_cash(group, asset, ZERO)\n",
        "        engine.book.set_cash(group, asset, ZERO)\n"
        "        cross = engine.group_of(group.account.id, 'cross')\n"
        "        taken = min(-amount, max(engine.book.cash_of(cross, asset), ZERO))\n"
        "        if cross is not group and taken:\n"
        "            engine.book.add_cash(cross, asset, -taken)\n"
        "            amount += taken\n"
        "            if not amount:\n"
        "                continue\n",
    ),
    Mutation(
        "fee outside the limit",
        "closing",
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
        "requirement *= ONE + trigger.stop_buffer",
        "requirement *= ONE",
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
        "closing",
        "_positive(floor_to(worth, step, bottom))",
        "_positive(ceil_to(worth, step, bottom))",
    ),
    Mutation(
        "equity shared by notional",
        "closing",
        "        return leg.required, whole\n",
        "        pass\n",
    ),
    Mutation(
        "haircut on what is owed",
        "weights",
        "    counts = rule.borrow_weight\n",
        "    counts = ONE - rule.haircut\n",
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
        "forced_fills",
        "fee = min(fee, credit(max(state.equity, ZERO), asset.unit, price))",
        "fee = min(fee, asset.largest)",
    ),
    Mutation(
        "a sale that falls a unit short",
        "planning",
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
        ".counted(self._net[asset][rows]) * step",
        ".counted(self._net[asset][rows]) * 0.0",
    ),
    Mutation(
        "screens see no price fall",
        "watch",
        "step = table.group[:count], after - before",
        "step = table.group[:count], abs(after - before)",
    ),
    Mutation(
        "an expired order is renewed at its limit",
        "timers",
        "liquidation.backstop = True",
        "liquidation.backstop = False",
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
        "account_state",
        "liquidation.backstop = record.backstop",
        "liquidation.backstop = False",
    ),
    Mutation(
        "state forgets losses beyond bankruptcy prices",
        "account_state",
        "liquidation.losses = record.losses",
        "liquidation.losses = {}",
    ),
    Mutation(
        "the riskiest last",
        "liquidation",
        "return -1 if here < there else 1",
        "return 1 if here < there else -1",
    ),
    Mutation(
        "whole positions as if they were marginal",
        "requirement",
        "range(1, len(rates) if rule.marginal else 0)",
        "range(1, len(rates))",
    ),
    Mutation(
        "brackets by size measured by notional",
        "requirement",
        "measured = at.base if self.by_size else at.notional",
        "measured = at.notional",
    ),
    Mutation(
        "maintenance that does not grow with size",
        "requirement",
        "required = self._grown(self._maintenance, at)",
        "required = self._maintenance.requirement(at)",
    ),
    Mutation(
        "a factor of volatility beyond the notional",
        "requirement",
        "max(required, min(factor * required, at.notional))",
        "factor * required",
    ),
    Mutation(
        "the cost of closing outside the trigger",
        "margin",
        " + rules.closing_rate(symbol) * worth",
        "",
    ),
    Mutation(
        "a stop at initial weights that is one at maintenance",
        "margin",
        'if trigger.stop_at == "initial":',
        "if False:",
    ),
    Mutation(
        "open orders of the better side",
        "margin",
        "size = max(abs(one.leg.size + buys), abs(one.leg.size - sells))",
        "size = min(abs(one.leg.size + buys), abs(one.leg.size - sells))",
    ),
    Mutation(
        "the better of mark and average",
        "margin",
        "min(price, average) if owned else max(price, average)",
        "max(price, average) if owned else min(price, average)",
    ),
    Mutation(
        "profit that counts in full",
        "weights",
        "        return amount * rule.weight\n",
        "        return amount\n",
    ),
    Mutation(
        "what is owed weighs less as it grows",
        "weights",
        "size_premium(counts, rule.size_factor, -amount)",
        "size_discount(counts, rule.size_factor, -amount)",
    ),
    Mutation(
        "a calm that forgets its peaks",
        "volatility",
        "used = max(daily, ceil_to(rule.lookback_share * highest, VOLATILITY_STEP))",
        "used = daily",
    ),
    Mutation(
        "a factor that falls as quickly as it likes",
        "volatility",
        "max(target, ceil_to(factor * divisor - down, FACTOR_STEP, divisor))",
        "target",
    ),
    Mutation(
        "extreme moves that count in full",
        "portfolio",
        "one.weight * total + (",
        "total + (",
    ),
    Mutation(
        "long options need a minimum too", "portfolio", "elif leg.size < 0:", "elif leg.size != 0:"
    ),
    Mutation(
        "payoffs in coin paid in the quote",
        "options",
        "price if option.in_coin else ONE",
        "ONE",
    ),
    Mutation(
        "own orders told of once for all",
        "booking",
        "        group.orders_told = False\n",
        "        pass\n",
    ),
    Mutation(
        "nobody is pushed under",
        "entry_screen",
        "return sorted(found, key=lambda group: group.key)",
        "return []",
    ),
    Mutation(
        "screens see portfolios need less when they need more",
        "portfolio_watch",
        "risen: Floats = needs - column[rows]",
        "risen: Floats = column[rows] - needs",
    ),
    Mutation(
        "screens know no minimum for short options",
        "portfolio_screen",
        "np.where(exposures < 0, sizes * one.unit.underlying, 0.0)",
        "np.where(exposures < 0, 0.0, 0.0)",
    ),
    Mutation(
        "screens let what is owed weigh nothing",
        "screen_curve",
        "self.owed = float(weight(bare, -ONE, context))",
        "self.owed = 0.0",
    ),
)
