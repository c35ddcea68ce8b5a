"""What an instructor and a student look at: pages of HTML that stand by themselves.

`page_name` needs no torch, and neither does importing this package; `student_page` loads it.
"""

from grading.pages.names import page_name
from grading.pages.student import student_page

__all__ = ["page_name", "student_page"]
