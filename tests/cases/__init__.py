"""Worked cases of venues, run through the engine: `python -m tests.cases FILE`.

A file is an array of cases; each has an `id`, its `source`, a `kind`, `inputs` and `expected` in
plain numbers, and may have a `tolerance`: an amount, or amount and part as {"abs": …, "rel": …}
(none: exact, but for the last digits of a float). What a kind of case is computed by stands in
`adapters`, `sizes`, `fees`, `deleverage`, `losses`, `lending`, `seizures` and `auctions`: public
functions of the engine, inputs renamed to arguments. What venues assert that is wrong, `defects`.
"""
