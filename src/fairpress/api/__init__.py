"""The public functions of ``import fairpress``."""

from __future__ import annotations

from fairpress.api.audits import audit
from fairpress.api.comparison import compare
from fairpress.api.exporting import export
from fairpress.api.models import compress, compress_file, mitigate, train
from fairpress.api.running import bench, embed, predict
from fairpress.api.searching import search
from fairpress.auditing.biometrics.draw_pairs import draw_pairs
from fairpress.auditing.biometrics.linked_people import link_people
from fairpress.auditing.biometrics.operating_threshold import thresholds
from fairpress.auditing.export_cells import export_cells
from fairpress.auditing.logs.inspect_ai import read_inspect
from fairpress.auditing.logs.joined_files import read_pair
from fairpress.auditing.logs.lm_eval import read_lm_eval
from fairpress.auditing.planning.planner import plan
from fairpress.datasets import load as load_dataset
from fairpress.datasets.dataset import Dataset
from fairpress.integrations.guard import Guard
from fairpress.reporting.audit_report import AuditReport
from fairpress.runtime.artifact import Artifact
from fairpress.searching.fair_quantizer import FairQuantizer
from fairpress.searching.result import ConstraintNotMet

__all__ = [
    "Artifact",
    "AuditReport",
    "ConstraintNotMet",
    "Dataset",
    "FairQuantizer",
    "Guard",
    "audit",
    "bench",
    "compare",
    "compress",
    "compress_file",
    "draw_pairs",
    "embed",
    "export",
    "export_cells",
    "link_people",
    "load_dataset",
    "mitigate",
    "plan",
    "predict",
    "read_inspect",
    "read_lm_eval",
    "read_pair",
    "search",
    "thresholds",
    "train",
]
