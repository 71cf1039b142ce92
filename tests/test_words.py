"""The words that code, messages and documents no longer use: the field has better ones."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PHRASES = {
    r"\bfigures\b|\b(the|each|every|better|no|main|published|one) figure\b(?! \d)": "metrics, numbers",
    r"\bjudged?\b|\bjudges\b|\bjudging\b|\bjudgements?\b": "evaluate, count, compare",
    r"\b(one|two|three|four|once|twice|times|maps?|people|persons?|images|(milli|micro)?seconds|ms|GMACs|bytes|MB|GB|"
    r"steps|files|lines|points|rate|rows|columns|pixels|boxes|crops|channels|batches|samples|targets|values|scores|"
    r"offsets) an? (keypoint|person|step|point|image|run|split|line|family|file|joint|sample|epoch|second|minute|hour|"
    r"day|process|codec|batch|channel|map|pixel|stage|level|row|column|crop|box|layer|GPU|animal|frame|system|pose|"
    r"evaluation)\b": "per",
    r"\baloud\b": "explicitly",
    r"\bat hand\b": "available locally; your machine",
    r"\bMSPN cases?\b|works as written there": "the MSPN project; the original workflow runs unchanged",
    r"\bwent wrong\b": "failure analysis",
    r"process that writes and talks|\bteam's lead\b": "the main process (rank 0)",
    r"\bvery bits\b|in the bits of": "is bit-identical to",
    r"\b(config|image|it|file) is none\b(?! else)|\bis none of\b|\bhas none of\b": "is not a valid ...",
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
    r"\bwhoever\b": "what or who it is",
    r"\bspoilt\b|\bspoils?\b": "damaged, corrupted",
    r"\bbrings? along\b|\bbring \w+ along\b": "contains, imports",
    r"\b(does|do) without\b": "lacks, disabled",
    r"(?<!there )\b(is|are) no (file|checkpoint|image|weights|tensor|skeleton|box|number|JSON)\b": "is not a ...",
    r"\bsooner or later\b": "directly or indirectly",
    r"\bmade anew\b|\bwhence\b|\bthereof\b|\bthereby\b|\bamiss\b|\blest\b": "modern words",
    r"\b(has|have|had) not(?= (the|a|an|any|got)\b)": "does not have",
    r"\bbare(ly)?\b": "plain, only",
    r"\b(hour|minutes?|seconds) (gone|left)\b|\} gone,": "elapsed",
}
"""Regular expressions of phrases that went, with what to write instead."""

SWEPT = (
    "*.md",
    "Makefile",
    ".ci/run",
    "docs/**/*.md",
    "benchmarks/*.*",
    "src/**/*.py",
    "tests/**/*.py",
    "tests/**/*.md",
)
TEXTS = sorted({path for pattern in SWEPT for path in ROOT.glob(pattern)} - {Path(__file__)})

NAMES = {
    "judge judged Verdict Measured": "evaluate, Evaluation, CocoMetrics",
    "People": "KeypointDataset, GroundTruth, Results",
    "seen": "visibility, visited",
    "lead apart joined": "is_main, no_sync, wrap",
    "learn rehearse halted": "train_step, dry_run, stopped",
    "QuarterShift Ladder DiscVotes": "what the target is: GaussianHeatmap, MultiScaleHeatmap, OffsetHeatmap",
    "drops drop_factor hardest": "milestones, gamma, ohkm_topk",
    "hide how": "cutout, augment",
    "new_head sheets": "reset_head, contact_sheets",
    "at_hand file_of closer": "local_weights, resolve, two_pass_boxes",
}
"""Names that went, with those that say what they are."""

VARIABLES = {"here", "there", "some", "many", "of", "to"}
"""What no variable is called: its name says what it holds, such as `in_batch`, `rows` or `columns`."""


def bound(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """Every name that a file gives to something: its line, the name, and whether it is that of a variable."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr, isinstance(node, ast.Name)
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg, True
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.lineno, node.name, False


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_phrases_and_names_that_went_do_not_come_back(path):
    source = path.read_text("utf-8")
    text = re.sub(r"\s*\n\s*(#\s*)?", " ", source)  # a phrase may be broken over two lines
    found = [f"{m[0]!r}: say {instead}" for old, instead in PHRASES.items() for m in re.finditer(old, text, re.I)]
    if path.suffix == ".py":
        gone = {name: instead for names, instead in NAMES.items() for name in names.split()}
        for line, name, variable in bound(ast.parse(source)):
            if name in gone:
                found.append(f"line {line}: {name}: say {gone[name]}")
            elif variable and name in VARIABLES:
                found.append(f"line {line}: {name}: say what it holds")
    assert not found, "\n".join(found)
