"""Odd and bad inputs: unusual files and common mistakes of users, each made small. One table in several modules.

`make situations-table` tries those that somebody met in public, and tests/sources and tests/proofs all of them.
"""
