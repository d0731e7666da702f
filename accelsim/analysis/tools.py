"""The tools that GEMMs are written for."""

from __future__ import annotations

TOOLS = ("csv", "scalesim", "zigzag", "accelforge")
"""What `accelsim.analysis.peers.write` writes; ``csv`` is a plain table, for any other tool."""
