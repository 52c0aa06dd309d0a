"""Odd and bad inputs: what people bring and what they get wrong, each made small. One table, in the order of its rows.

`make situations-table` tries those that somebody met in public, and tests/sources/test_odd_inputs.py all of them.
"""
