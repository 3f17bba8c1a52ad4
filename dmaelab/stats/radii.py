"""The radii at which the literature states certified accuracy."""

# Multiples of the step rounded, never a running sum: 1.9100000000000001 > 1.91 would lose an image at the cap.
RADII = tuple(round(0.25 * multiple, 2) for multiple in range(13))
"""0, 0.25, ..., 3, in [0,1] pixel units."""
