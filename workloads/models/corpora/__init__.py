"""Data on which the models of ``accelsim train`` are trained: text and images that Debian ships."""
