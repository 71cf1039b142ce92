"""What the server counts, in Prometheus's text format."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from posewright.serve.shared_runs import SharedPredictor

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(slots=True)
class Metrics:
    """Counts since the start; changed by the event loop's thread alone.

    Attributes:
        answers: of `/v1/poses`, by status.
        people: poses found.
        in_progress: requests accepted and not yet answered.
    """

    answers: Counter[int] = field(default_factory=Counter)
    people: int = 0
    in_progress: int = 0
    _at_most: Counter[float] = field(default_factory=Counter)
    _seconds: float = 0.0

    def left(self) -> None:
        """Count an accepted request out."""
        self.in_progress -= 1

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer and the time that it took."""
        self.answers[status] += 1
        self._seconds += seconds
        self._at_most.update(edge for edge in _SECONDS if seconds <= edge)

    def text(self, models: dict[str, SharedPredictor]) -> str:
        """All of it, with the runs of each model's network."""
        count = sum(self.answers.values())
        name = "posewright_request_seconds"
        lines = [
            *_head("posewright_requests_total", "counter", "Answers of /v1/poses by status."),
            *(f'posewright_requests_total{{status="{s}"}} {n}' for s, n in sorted(self.answers.items())),
            *_head("posewright_requests_in_progress", "gauge", "Requests accepted and not yet answered."),
            f"posewright_requests_in_progress {self.in_progress}",
            *_head("posewright_people_total", "counter", "Poses found."),
            f"posewright_people_total {self.people}",
            *_head(name, "histogram", "Seconds from a request's arrival to its answer."),
            *(f'{name}_bucket{{le="{edge:g}"}} {self._at_most[edge]}' for edge in _SECONDS),
            f'{name}_bucket{{le="+Inf"}} {count}',
            f"{name}_sum {self._seconds:.6f}",
            f"{name}_count {count}",
            *_head("posewright_network_runs_total", "counter", "Runs of the network."),
            *(f'posewright_network_runs_total{{model="{_escaped(m)}"}} {p.runs}' for m, p in models.items()),
            *_head(
                "posewright_network_crops_total", "counter", "Crops in those runs; by run, how well they are shared."
            ),
            *(f'posewright_network_crops_total{{model="{_escaped(m)}"}} {p.crops}' for m, p in models.items()),
        ]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP {name} {about}", f"# TYPE {name} {kind}"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
