"""What a layer does in its Transformer, told from its name."""

from __future__ import annotations

import re

_NAMES = {
    "qkv": r"[qkv]|[qkv]_proj|query|key|value|qkv|qkv_proj|c_attn",
    "o": r"o|o_proj|out_proj|(?:attention|attn)\.output(?:\.dense)?",
    "up": r"up|up_proj|gate|gate_proj|gate_up_proj|fc1|c_fc|intermediate\.dense",
    "down": r"down|down_proj|fc2|output\.dense",
    "head": r"head|lm_head",
}

_SUFFIX = r"(?:\.(?:dx|dw|MatMul|Gemm))?"
"""Of gradients, and of the operators that exporters to ONNX name after a layer."""

_PATTERNS = {
    role: re.compile(rf"(?:^|\.)(?:{names}){_SUFFIX}$", re.ASCII) for role, names in _NAMES.items()
}

ROLES = tuple(_NAMES)
"""The projections into attention, its output, the feed-forward layers, and the last layer.

Those that share their input, as q, k and v do, or a gate and `up`, have one role: their r differs
less than that of one of them between layers.
"""


def role_of(name: str) -> str | None:
    """Return which of `ROLES` a linear layer has, or None if its name does not tell.

    Parameters
    ----------
    name : str
        Of its GEMM, such as ``model.layers.3.self_attn.q_proj.dw`` or ``layers.0.gate``.
    """
    return next((role for role, found in _PATTERNS.items() if found.search(name)), None)
