"""How fast rtstyle is on this machine: cases, measurements, reports."""

from rtstyle.bench.case import LEVELS, SIZES, Case, plan_cases
from rtstyle.bench.document import Document, read_document
from rtstyle.bench.result import Measured, Missing
from rtstyle.bench.runner import run_cases

__all__ = [
    "LEVELS",
    "SIZES",
    "Case",
    "Document",
    "Measured",
    "Missing",
    "plan_cases",
    "read_document",
    "run_cases",
]
