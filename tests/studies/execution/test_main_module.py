"""Workers of programs on standard input, and of programs that start their study again in every worker."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os
from concurrent.futures.process import BrokenProcessPool
from fairpress.core.errors import UserError
from fairpress.studies.execution.local_engine import Worker
worker = Worker()
future = worker.submit(None, os.getpid)
try:
    print("another process:", future.result() != os.getpid(), __file__)
except BrokenProcessPool as error:
    try:
        print(worker.loss_reason(error))
    except UserError as reason:
        print(reason)
worker.close()
"""


def test_a_program_on_standard_input_has_workers():
    done = subprocess.run(
        [sys.executable, "-"], input=PROGRAM, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout == "another process: True <stdin>\n", done.stderr
    assert not done.stderr


def test_a_program_that_starts_its_study_again_in_every_worker_is_told_so(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=300)
    assert 'put what it runs below `if __name__ == "__main__":`.' in done.stdout
    assert len((done.stdout + done.stderr).strip().split("\n")) == 1, done.stderr
