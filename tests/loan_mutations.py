"""Planted mistakes about loans, pools and auctions."""

from tests.mutation import Mutation

LOAN_MUTATIONS = (
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
        "touch",
        "principal = ceil_to(amount, self.unit, self.index.borrow)\n"
        "        self._change_debt(group, principal, amount)",
        "principal = floor_to(amount, self.unit, self.index.borrow)\n"
        "        self._change_debt(group, principal, amount)",
    ),
    Mutation(
        "redeemed principal rounded for the account",
        "touch",
        "principal = ceil_to(amount, self.unit, self.index.supply)",
        "principal = floor_to(amount, self.unit, self.index.supply)",
    ),
    Mutation(
        "what was given up is never recovered",
        "loans",
        "outstanding = min(amount, pool.state.deficit, left)",
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
        "if state.maintenance <= repaid * pair.owed.price * pair.debt.weight:",
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
