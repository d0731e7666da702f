"""Whole models: the catalog, local folders and a user's own, made ready to run."""
