"""The fused route: floats in, exact integers inside, floats out, on a Hopper GPU."""
