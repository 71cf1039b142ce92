"""The words that code, messages and documents no longer use: the field has better ones."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PHRASES = {
    r"(?<!\.)\bfigures?\b|\bjudged?\b|\bjudges\b|\bjudging\b": "metrics, numbers; evaluate",
    r"\b(one|two|maps?|people|images?|(milli|micro)?seconds|ms|GMACs|steps?|files?|lines?|points?|rate) an? "
    r"(keypoint|person|step|point|image|run|split|line|family|file|joint|sample|epoch|second|process|codec)\b": "per",
    r"\baloud\b": "explicitly",
    r"\bat hand\b": "available locally; your machine",
    r"\bMSPN cases?\b|works as written there": "the MSPN project; the original workflow runs unchanged",
    r"\bwent wrong\b": "failure analysis",
    r"process that writes and talks|\bteam's lead\b": "the main process (rank 0)",
    r"\bvery bits\b|in the bits of": "is bit-identical to",
    r"\b(config|image|it|file) is none\b": "is not a valid config; is not an image",
    r"\bfor want of\b": "because no ... is available",
    r"\bare nowhere\b": "not found",
    r"\bnobody to learn\b": "no usable annotations",
    r"\bmade-up people\b": "a dummy batch",
    r"\bas even as can be\b": "as evenly as possible",
    r"\btrade places\b": "are swapped",
    r"\banew\b": "re-initialised, recomputed",
    r"\bat birth\b": "validated on construction",
    r"\bmade to do harm\b": "malicious",
    r"\bwhat the matter may be\b": "likely cause",
    r"\bwants one name\b": "expects one name",
    r"\bthe version and leave\b": "show the version and exit",
    r"\bgot by other means\b": "downloaded manually",
    r"\bwhat is there of it\b": "the partial file is kept",
    r"\blent by the hour\b": "time-limited machines",
    r"\bdid not live to\b": "was interrupted before reporting",
    r"\bwhole or not at all\b": "atomically",
    r"\bbegun\b|\b(go|goes|went|going) on (with|from|where|exactly|once)\b": "started; resume",
    r"\bworked on in\b": "split into N micro-batches",
    r"\bthat was hit\b": "a correct keypoint",
    r"\bwhich JSON has not\b": "which JSON does not support",
    r"\babsurd\b": "out-of-range",
    r"\btheir kin\b": "the standard COCO layouts",
    r"\bof one's own\b": "custom",
    r"\b(first|closer) look\b": "two-pass inference",
    r"\bpeople a network learns\b": "training samples",
    r"\b(hour|minutes?|seconds) (gone|left)\b|\} gone,": "elapsed",
}
"""Regular expressions of phrases that went, with what is said instead."""

SWEPT = (
    "*.md",
    "Makefile",
    "docs/*.md",
    "benchmarks/*.md",
    "src/posewright/cli/*.py",
    "tests/cli/*.py",
    "tests/*_docs.py",
)
TEXTS = sorted(path for pattern in SWEPT for path in ROOT.glob(pattern))


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_phrases_that_went_do_not_come_back(path):
    text = re.sub(r"\s*\n\s*(#\s*)?", " ", path.read_text("utf-8"))  # a phrase may be broken over two lines
    found = [f"{m[0]!r}: say {instead}" for old, instead in PHRASES.items() for m in re.finditer(old, text, re.I)]
    assert not found, "\n".join(found)
