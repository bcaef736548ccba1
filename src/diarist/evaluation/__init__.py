"""How good is it: score, benchmark, tune, attribute."""
