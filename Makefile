# make demo       the whole main job on generated data: data, pre-training, evaluation, table and pictures
# make test       the fast tests;  make test-slow: whole commands and trainings;  make lint: style
# make docs       the documentation as a site, in build/site
# The environment is made in .venv by the first of them; PYTHON=python3.12 chooses the interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# a process a core, but each file's tests in one: they share what they prepare
PARALLEL := -n auto --maxprocesses 8 --dist loadfile
READY := $(VENV)/.ready

.PHONY: demo test test-slow lint docs clean

demo: $(READY)
	$(BIN)/python tools/demo.py

test: $(READY)
	$(BIN)/python -m pytest -q $(PARALLEL)

test-slow: $(READY)
	$(BIN)/python -m pytest -q -m slow $(PARALLEL)

lint: $(READY)
	$(BIN)/python -m ruff check .

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

$(READY): setup.py constraints.txt
	$(PYTHON) -c "import sys; sys.exit('Python 3.10 or newer is needed; choose one with PYTHON=...' if sys.version_info < (3, 10) else 0)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt 'setuptools<82' wheel torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[lite,test,export,tensorboard,docs]'
	touch $(READY)

clean:
	rm -rf $(VENV) work_dirs build *.egg-info
