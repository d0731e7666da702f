"""The front end on an NVIDIA GPU, and the whole pipeline from floats to floats."""
