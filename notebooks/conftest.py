"""What nbval leaves out when it compares outputs.

Pictures are compared by their text, which holds counts; the drawings hold measured seconds. nbval runs
cells without counting them, so "In [9]" is the same as "In [1]".
"""

DRAWINGS = ("application/vnd.plotly.v1+json", "image/svg+xml")


def pytest_collection_modifyitems(items):
    for notebook in {item.parent for item in items if hasattr(item.parent, "skip_compare")}:
        if not set(DRAWINGS) <= set(notebook.skip_compare):
            notebook.skip_compare += DRAWINGS
        notebook.sanitize_patterns[r"In \[\d+\]"] = "In [.]"
