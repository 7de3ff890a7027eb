"""AMD as its equations read: what the fast paths are measured against, and checked with before they are timed.

float32, torch's default memory format, one frame and one direction at a time, 81 slices for the cost volume, a loop
over the segments, no fused optimiser. Parameters have the names of amd.models, so that both hold the same weights.
Nothing here imports amd's arithmetic.
"""
