#!/usr/bin/env bash
# Runs once, when Gradescope builds the autograder's image.
set -euo pipefail
apt-get update
apt-get install -y --no-install-recommends python3 python3-venv libseccomp2 bubblewrap
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "This needs Python 3.11 or newer: choose a newer base image (Ubuntu 24.04)." >&2
  exit 1
}
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install @OPTIONS@@REQUIREMENTS@
# What the image can lock is told in the log; each run says it again to staff, if it is nothing.
PYTHONPATH=/autograder/source/packages /autograder/venv/bin/python -m grading.cli doctor || \
  echo "WARNING: submissions are not locked down in this image." >&2
