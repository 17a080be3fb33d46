"""What named_mistakes.py is made of: whole files as students write them, right ones and ones with mistakes planted.

`draws` says what a file is to compute; `dicts`, `lecture`, `lists`, `loops`, `layers` and `notebook` each write it in a
style of their own, and each has its own table of mistakes, as edits of its text; `mistakes` has their names and what a
checker may rightly call them; `candidates` puts it together, deterministic from a seed.
"""
