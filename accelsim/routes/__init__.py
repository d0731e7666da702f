"""The one way from float operands to the exact product."""
