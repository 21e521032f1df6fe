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
        "an expired order is renewed at its limit", "timers", "or order.closes_leg", "or False"
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
    Mutation(
        "a seizure that takes nothing is planned",
        "repayment",
        "max(_by_rule(pair, state, holdings, rules), _least(pair))",
        "_by_rule(pair, state, holdings, rules)",
    ),
    Mutation(
        "dust is left behind",
        "repayment",
        "if not leaves_dust(owed_left, held_left, dust.least):",
        "if True:",
    ),
    Mutation(
        "no seizure is toxic",
        "repayment",
        "return toxic(weighted, pair.collateral.threshold, pair.bonus)",
        "return False",
    ),
    Mutation(
        "a pool pays what it does not have",
        "repayment",
        "pool.cash >= found.seized - fee",
        "pool.cash >= ZERO",
    ),
    Mutation(
        "auctions know no room",
        "repayment",
        "return room(rule.in_flight, in_all, of_collateral)",
        "return rule.in_flight.limit",
    ),
    Mutation(
        "a halt counts as a loss",
        "recourse",
        "if not paired and not any(",
        "if not paired or any(",
    ),
    Mutation(
        "lenders bear what is outstanding",
        "losses",
        "pool.move(deficit=rest)",
        "pool.move(dust=-rest)",
    ),
    Mutation(
        "the penalty is paid before what is due",
        "auctions",
        "due = min(event.paid, auction.due)",
        "due = max(event.paid - (auction.debt - auction.due), ZERO)",
    ),
    Mutation(
        "an auction is reset though it is halted",
        "auctions",
        "if rules.halts(auction.pool) or rules.halts(auction.collateral):",
        "if False:",
    ),
    Mutation(
        "an auction that nobody takes is reset for ever",
        "auctions",
        "auction.resets >= rule.most_resets):",
        "False):",
    ),
    Mutation(
        "who waits for room is looked at for a recovery alone",
        "situation",
        "return Thresholds(math.nan, math.inf)",
        "return Thresholds(math.nan, _stop_ratio(profile))",
    ),
    Mutation(
        "interest that the reserve gets no part of",
        "pools",
        "kept = floor_to(owed * rule.reserve_factor, unit)",
        "kept = ZERO",
    ),
    Mutation(
        "lenders who earn the reserve's part too",
        "pools",
        " * (ONE - rule.reserve_factor)",
        "",
    ),
    Mutation(
        "supplies rounded for who owns them",
        "pools",
        "return credit(principal * at.supply, unit)",
        "return -credit(-principal * at.supply, unit)",
    ),
    Mutation(
        "debts rounded up whatever the pool says",
        "pools",
        "rounded(principal * at.borrow, unit, rule.owed)",
        'rounded(principal * at.borrow, unit, "up")',
    ),
    Mutation(
        "loans that owe a unit less than was borrowed",
        "loans",
        "principal = ceil_to(amount, self.unit, self.index.borrow)\n"
        "        self._change_debt(group, principal, amount)",
        "principal = floor_to(amount, self.unit, self.index.borrow)\n"
        "        self._change_debt(group, principal, amount)",
    ),
    Mutation(
        "redeemed principal rounded for the account",
        "loans",
        "principal = ceil_to(amount, self.unit, self.index.supply)",
        "principal = floor_to(amount, self.unit, self.index.supply)",
    ),
    Mutation(
        "what was given up is never recovered",
        "loans",
        "outstanding = min(amount, pool.state.deficit)",
        "outstanding = ZERO",
    ),
    Mutation(
        "a seizure whose fee is paid out too",
        "loans",
        "out = event.seized - event.fee",
        "out = event.seized",
    ),
    Mutation(
        "thresholds that do not ramp",
        "loan_values",
        "return ramped(terms.ramp, terms.liquidation_threshold, now)",
        "return terms.liquidation_threshold",
    ),
    Mutation(
        "disabled collateral counts",
        "loan_values",
        "        if held.enabled:\n",
        "        if True:\n",
    ),
    Mutation(
        "debts that all weigh the same",
        "loan_values",
        "    return rule.borrow_weight\n",
        "    return ONE\n",
    ),
    Mutation(
        "the smallest debt first",
        "repayment",
        'sign = -1 if lending_of(rules).debt_first == "largest" else 1',
        'sign = 1 if lending_of(rules).debt_first == "largest" else -1',
    ),
    Mutation(
        "a debt left that is too small to be one",
        "repayment",
        "return owed if owed - repay < least else repay",
        "return repay",
    ),
    Mutation(
        "toxic though nothing of the debt is left",
        "repayment",
        "if repaid >= pair.owed.amount and not others:",
        "if False:",
    ),
    Mutation(
        "all given up where only a part is lost",
        "recourse",
        'return _insolvent(state, counts, rules) if recognise == "insolvent" else {}',
        'return owed if recognise == "insolvent" and _insolvent(state, counts, rules) else {}',
    ),
    Mutation(
        "more drawn than is owed",
        "recourse",
        "amount = min(loan.supplied, markets.lending[loan.pool].cash, enough)",
        "amount = min(loan.supplied, markets.lending[loan.pool].cash)",
    ),
    Mutation(
        "auctions reset for ever",
        "auctions",
        "    auction.resets += 1\n",
        "",
    ),
    Mutation(
        "auctions reset at the price of their first start",
        "auctions",
        "    auction.start_price = top_price(rule, prices[0], prices[1])\n",
        "",
    ),
    Mutation(
        "interest alone takes nobody over a threshold",
        "watch",
        "        if not self._book.lends:\n",
        "        if True:\n",
    ),
    Mutation(
        "indices of the venue take nobody over a threshold",
        "watch",
        "return self._reckon(self._loans.told(pool, *grown))",
        "return []",
    ),
)
