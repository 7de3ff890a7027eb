"""Fuzzing: files from strangers, mutated by the thousand, have to be refused in a sentence or be used.

`python -m fuzz --cases 3000 --seed 0` mutates small real files of every kind that the project reads, uses each in a
process with limits, and prints how many were accepted and refused. A traceback, a crash, a hang or memory beyond the
limit is a failure; its line says how to repeat it. See docs/recovery.md.
"""
