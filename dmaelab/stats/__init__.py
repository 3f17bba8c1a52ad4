"""Statistics on integers: bounds, tests, intervals, and the geometry of radii. No torch here."""
