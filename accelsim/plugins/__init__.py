"""Plug-ins: registries, options, extras, and the scaffold of new packages."""
