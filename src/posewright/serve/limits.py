"""What the server takes of a request, and how many at a time."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the server; a request beyond one of them is refused with a sentence that names it.

    Attributes:
        bytes: of a request's body.
        pixels: of an image, decoded: width times height.
        boxes: of a request, or people that the detector may find.
        requests: accepted and not yet answered; one more is answered 429.
        seconds: for a request's body to arrive, and again for it to be worked on.
        threads: that decode and crop images while the network runs; each holds one decoded image.
    """

    bytes: int = 20 << 20
    pixels: int = 40_000_000
    boxes: int = 100
    requests: int = 128
    seconds: float = 30.0
    threads: int = 16

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"limit of {field.name}: expected more than 0, got {getattr(self, field.name)}")
