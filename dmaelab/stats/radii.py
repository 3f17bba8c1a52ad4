"""The radii at which the literature states certified accuracy."""

# Computed as multiples, because rounding errors could accumulate in a running sum.
RADII = tuple(round(0.25 * multiple, 2) for multiple in range(13))
"""0, 0.25, ..., 3, in [0,1] pixel units."""
