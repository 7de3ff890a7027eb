"""Fault injection: a tiny project is disturbed in every way that months of running bring, and has to recover.

`python -m faults` (or `make faults`) makes the project, runs it once undisturbed, disturbs one stage after another,
and runs the same command again. It passes when that ends with the results of the undisturbed run, and leaves no
process, lock or half-written file. See docs/recovery.md.
"""
