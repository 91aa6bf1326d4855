"""How do graded submissions go to an instructor who works with nbgrader?

    FOLDER/submitted/ada/02_collectives/02_collectives.ipynb    answers in the master
    FOLDER/grades.csv                                           points, as nbgrader exports them

`minidl grade --nbgrader` writes them. The exercises themselves come from course/nbgrader.py.
"""

import csv
import io

import nbformat

from minidl_grader.course import nbgrader
from minidl_grader.course.cells import write_aside
from minidl_grader.inbox.assemble import assemble
from minidl_grader.inbox.score import earned

COLUMNS = (
    "assignment",
    "duedate",
    "timestamp",
    "student_id",
    "last_name",
    "first_name",
    "email",
    "raw_score",
    "late_submission_penalty",
    "score",
    "max_score",
)


def export_graded(results, handed_in, course, folder):
    """Write every submission that was graded below `folder`/submitted, and all points beside it."""
    data = {one.key: one.data for one in handed_in}
    for result in results:
        if result["problem"]:
            continue
        key = result["key"]
        name = result["exercise"]
        made = assemble(data[key](), course.exercises[name], name, course.exercises)
        notebook = nbgrader.marked(made.shown, {})
        path = folder / "submitted" / key / name / f"{name}.ipynb"
        write_aside(path, nbformat.writes(notebook) + "\n")
    write_aside(folder / "grades.csv", grades(results))


def grades(results):
    """The points in the columns of nbgrader's own export."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for result in results:
        points, most = earned(result)
        writer.writerow(
            {
                "assignment": result["exercise"],
                "student_id": result["key"],
                "raw_score": points,
                "late_submission_penalty": 0.0,
                "score": points,
                "max_score": most,
            }
        )
    return file.getvalue()
