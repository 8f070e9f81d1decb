"""The page of a run, pages that compare runs, and what a folder holds in words."""

from gnnflow.report.page import REPORT_FILE, write_comparison, write_report
from gnnflow.report.run_record import RunRecord, read_run

__all__ = ["REPORT_FILE", "RunRecord", "read_run", "write_comparison", "write_report"]
