"""Whether integers are enough: whole models in integers beside floating point."""
