"""Plans: what to do to the world, in which order, and why; pure."""
