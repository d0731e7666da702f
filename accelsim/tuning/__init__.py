"""Plans that are found: the sensitivity of each GEMM of a model, and the cheapest plan."""
