"""Operands drawn on a device: normal entries, of which some are heavy hitters of either sign."""

import torch


def draw(kind, n, d, h, dtype, device, seed=0):
    """Draw A ``[n, d]`` and B ``[h, d]``: plain, channels (columns of A) or scattered."""
    generator = torch.Generator(device).manual_seed(seed)

    def factors(count):
        return 10 + 90 * torch.rand(count, generator=generator, device=device)

    a = torch.randn((n, d), generator=generator, device=device)
    b = torch.randn((h, d), generator=generator, device=device)
    if kind == "channels":
        columns = torch.randperm(d, generator=generator, device=device)[: max(1, d // 1024)]
        a[:, columns] *= factors(columns.numel())
    if kind == "scattered":
        for x in (a, b):
            count = x.numel() // 10_000
            where = torch.randint(x.numel(), (count,), generator=generator, device=device)
            x.view(-1)[where] *= factors(count)
    return a.to(dtype), b.to(dtype)
