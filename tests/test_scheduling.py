"""A notebook and its cells run in one worker, and so do the tests of one file or of one museum."""

from tests.scheduling import rank, unit


def test_the_cells_of_a_notebook_run_where_the_browser_ran_it():
    browser = "tests/browser/test_in_jupyterlab.py::test_a_learner[03_data_parallel.ipynb]"
    cell = "notebooks/03_data_parallel.ipynb::Cell 7"
    assert unit(browser) == unit(cell) == "notebooks/03_data_parallel.ipynb"


def test_each_museum_is_a_unit_and_each_other_file():
    museum = "tests/check/test_museum.py"
    ids = ("[04]", "[04-04-islands]", "[04-04-islands: one ring over all]")
    assert {unit(f"{museum}::test{name}") for name in ids} == {f"{museum} 04"}
    assert unit(f"{museum}::test_most") == museum
    assert unit("tests/runtime/test_comm.py::test_a[04-x]") == "tests/runtime/test_comm.py"


def test_long_units_begin_first():
    assert rank("notebooks/04_sharded.ipynb::Cell 0") < rank("notebooks/00_start.ipynb::Cell 0")
    assert rank("tests/test_costs.py::test_a") < rank("tests/plans/test_shards.py::test_a")
