"""Worked cases of venues, run through the engine: `python -m tests.cases FILE`.

A file is an array of cases; each has an `id`, its `source`, a `kind`, `inputs` and `expected` in
plain numbers, and may have an absolute `tolerance` (none: exact). What a kind of case is computed
by stands in `adapters`: one public function of the engine, its inputs renamed to arguments.
"""
