"""Training: a few steps, in each precision that the device has, must lower the loss alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from reconet_bench.checks.base import CHECKS, Check, Finding, absent, failed, ok

#: Steps, side of the frames in pixels, and how far the losses of a reduced precision may be from those of fp32.
_STEPS, _SIDE, _NEAR = 12, 64, 0.15


@CHECKS.register("training")
class Training(Check):
    """The optimiser and its arithmetic; with ``--full``, and without the loss network's weights."""

    title: ClassVar[str] = "training"
    order: ClassVar[int] = 60

    def findings(self, full: bool) -> Iterator[Finding]:
        if not full:
            return
        import torch

        from reconet_bench.core.machine import computes_bf16

        device = "cuda" if torch.cuda.is_available() else "cpu"
        reference = _losses("cpu", torch.float32)
        if reference[-1] >= reference[0]:
            yield failed(
                "training in fp32", f"the loss rose from {reference[0]:.3g} to {reference[-1]:.3g}", "report it"
            )
            return
        yield ok("training in fp32", f"the loss fell from {reference[0]:.3g} to {reference[-1]:.3g} in {_STEPS} steps")
        kinds = {
            "bf16": torch.bfloat16,
            **({"fp16": torch.float16, "fp32 on the GPU": torch.float32} if device == "cuda" else {}),
        }
        for name, kind in kinds.items():
            if device == "cpu" and not computes_bf16():
                yield absent(f"training in {name}", "this CPU only emulates it")
                continue
            losses = _losses(device, kind)
            worst = max(abs(a - b) / a for a, b in zip(reference, losses, strict=True))
            said = f"losses within {100 * worst:.1f} % of the CPU's in fp32"
            yield ok(f"training in {name}", said) if worst < _NEAR else failed(f"training in {name}", said, "use fp32")


def _losses(device: str, kind: object) -> list[float]:
    """The loss at each step of a small network that learns to negate a fixed frame."""
    import contextlib

    import torch

    from reconet_bench.networks.base import NETWORKS, NetworkOptions

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = NETWORKS["small"].build(NetworkOptions()).to(device)
        frame = torch.rand(1, 3, _SIDE, _SIDE).to(device)
    optimiser = torch.optim.Adamax(network.parameters(), 1e-3)
    scaler = torch.amp.GradScaler(device, enabled=kind is torch.float16)
    losses = []
    for _ in range(_STEPS):
        reduced = contextlib.nullcontext() if kind is torch.float32 else torch.autocast(device, kind)  # type: ignore[arg-type]
        with reduced:
            loss = (network(frame).float() - (1 - frame)).square().mean()
        optimiser.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        losses.append(float(loss.detach()))
    return losses
