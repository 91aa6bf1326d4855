"""In which forms do grades leave minidl?

    grades.csv                   a line per submission, a column per task: for a spreadsheet or a
                                 learning platform
    gradescope/ada/results.json  as Gradescope's autograders write it
    junit.xml                    a test per demand, for tools that read test reports
    on the terminal              the same, aligned

Names come from submissions. In a spreadsheet a cell that begins with = would be a formula, so it
gets a quote.
"""

import csv
import io
import json
import re
import xml.etree.ElementTree as ElementTree

from minidl_grader.course.cells import write_aside
from minidl_grader.inbox.score import earned

FORMULA = ("=", "+", "-", "@", "\t", "\r")
NUMBERS = 3  # from this column on, up to the last, a table has numbers


def grade_rows(results):
    """(columns, rows) of all results; a column per task, with its points."""
    tasks = dict.fromkeys(task["task"] for result in results for task in result["tasks"])
    columns = ["submission", "learner", "exercise", "points", "of", *tasks, "remark"]
    rows = []
    for result in results:
        own = {task["task"]: task["earned"] for task in result["tasks"]}
        notes = [note for note in result["notes"] if not note.startswith("Tags")]
        rows.append(
            [
                result["key"],
                result["learner"],
                result["exercise"],
                *earned(result),
                *(own.get(task, "") for task in tasks),
                " ".join(filter(None, [result["problem"], *notes])),
            ]
        )
    return columns, rows


def terminal(results, width=110):
    """Aligned tables for the terminal, one for each exercise."""
    by_exercise = {}
    for result in results:
        by_exercise.setdefault(result["exercise"], []).append(result)
    return "\n\n".join(aligned(group, width) for group in by_exercise.values())


def aligned(results, width):
    """One table, with task columns without the exercise's number."""
    columns, rows = grade_rows(results)
    heads = [column.split("-", 1)[-1][:14] for column in columns]
    heads[-1] = ""  # remarks need no title
    table = [heads] + [[plain(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = []
    for *cells, remark in table:
        padded = []
        for i, text in enumerate(cells):
            padded.append(text.rjust(widths[i]) if i >= NUMBERS else text.ljust(widths[i]))
        line = "  ".join([*padded, remark]).rstrip()
        if len(line) > width:
            line = line[: width - 4].rstrip() + " ..."
        lines.append(line)
    return "\n".join(lines)


def plain(value):
    """A number, or a text of one line without what steers a terminal."""
    if isinstance(value, float):
        return f"{value:g}"
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))


def csv_text(results):
    """grades.csv as text."""
    columns, rows = grade_rows(results)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_without_formula(value) for value in row])
    return file.getvalue()


def _without_formula(value):
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


def gradescope(result):
    """Gradescope's results.json of one submission, as a dict: a test per task."""
    tests = [
        {
            "name": task["title"],
            "number": task["task"],
            "score": task["earned"],
            "max_score": task["points"],
            "status": "passed" if task["state"] == "passed" else "failed",
            "output": task_in_words(task),
            "output_format": "text",
            "visibility": "visible",
        }
        for task in result["tasks"]
    ]
    return {
        "score": earned(result)[0],
        "execution_time": round(sum(result["seconds"].values())),
        "output": remarks_in_words(result),
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
        "extra_data": {key: result[key] for key in ("learner", "exercise", "seed", "isolation")},
    }


def remarks_in_words(result):
    """All remarks on a submission as a whole, a line each."""
    lines = [result["problem"], result["notebook"], *result["notes"]]
    return "\n".join(filter(None, lines)) or "Nothing to remark."


def task_in_words(task):
    """A task's demands, a line each."""
    lines = [task["message"]] if task["message"] else []
    for demand in task["demands"]:
        verdict = "yes" if demand["passed"] else "no "
        lines.append(f"{verdict}  {demand['says']}{figures(demand)}")
    return "\n".join(lines) or task["state"]


def figures(demand):
    """ ": wanted 3, counted 6 (4 ranks, 84 elements)"; "" if a passed demand has no figures."""
    wanted = demand.get("wanted", "")
    counted = demand.get("counted", "")
    if demand["passed"] and wanted == counted:
        return ""
    where = f" ({demand['where']})" if demand.get("where") else ""
    return f": wanted {wanted}, counted {counted}{where}"


def junit(results):
    """All results as JUnit XML: a suite per submission, a test per demand of each task."""
    root = ElementTree.Element("testsuites", name="minidl")
    for result in results:
        seconds = sum(result["seconds"].values())
        suite = ElementTree.SubElement(root, "testsuite", name=result["key"], time=f"{seconds:.3f}")
        for task in result["tasks"]:
            undemanding = {
                "says": "done",
                "passed": task["state"] == "passed",
                "counted": task["state"],
            }
            for demand in task["demands"] or [undemanding]:
                name = legal(demand["says"])
                case = ElementTree.SubElement(suite, "testcase", classname=task["task"], name=name)
                if not demand["passed"]:
                    why = task["message"] or figures(demand)
                    ElementTree.SubElement(case, "failure", message=legal(why.strip(": ")))
        suite.set("tests", str(len(suite.findall("testcase"))))
        suite.set("failures", str(len(suite.findall("testcase/failure"))))
        ElementTree.SubElement(suite, "system-out").text = legal(remarks_in_words(result))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def legal(text):
    """The text with ? in place of characters that XML does not allow."""
    return re.sub("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", str(text))


def write_tables(results, out):
    """Write every form below `out`."""
    write_aside(out / "grades.csv", csv_text(results))
    write_aside(out / "junit.xml", junit(results))
    for result in results:
        path = out / "gradescope" / result["key"] / "results.json"
        write_aside(path, json.dumps(gradescope(result), indent=1))
