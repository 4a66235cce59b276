# make demo       generated data: pre-training, evaluation, table and pictures in work_dirs/demo;
#                 SEEDS="0 1 2" for several runs
# make test       the fast tests;  make test-slow: whole commands and trainings;  make lint: style
# make docs       the documentation as a site, in build/site
# Each of them first installs .venv if it is missing; PYTHON=python3.12 chooses the interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# one process per core, but the tests of a file in one process: they share what they prepare
PARALLEL := -n auto --maxprocesses 8 --dist loadfile

SEEDS ?= 0
DEMO_CONFIG := configs/aimclr_synthetic_xsub_joint.py
# mixed precision where the CPU has bfloat16 instructions or there is a GPU
AMP ?= $(if $(shell grep -om1 -E 'avx512_bf16|amx_bf16' /proc/cpuinfo || command -v nvidia-smi),--amp)

.PHONY: demo demo-data test test-slow lint docs clean

demo: $(SEEDS:%=demo-seed%)

demo-data: $(READY)
	$(BIN)/python tools/prepare_data.py synthetic

demo-seed%: demo-data
	$(BIN)/python tools/train.py $(DEMO_CONFIG) $(AMP) --seed $* --work-dir work_dirs/demo/seed$*
	$(BIN)/python tools/analyze.py curves work_dirs/demo/seed$*
	$(BIN)/python tools/test.py $(DEMO_CONFIG) raw random $$(cat work_dirs/demo/seed$*/last_checkpoint) \
		--seed $* --out work_dirs/demo/seed$*/result.json --dump work_dirs/demo/seed$*/eval
	$(BIN)/python tools/analyze.py tsne work_dirs/demo/seed$*/eval/epoch_*/features.npz \
		--out work_dirs/demo/seed$*/embedding.png

test: $(READY)
	$(BIN)/python -m pytest -q $(PARALLEL)

test-slow: $(READY)
	$(BIN)/python -m pytest -q -m slow $(PARALLEL)

lint: $(READY)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

$(READY): setup.py constraints.txt
	$(PYTHON) -c "import sys; sys.exit('Python 3.10 or newer is needed; choose one with PYTHON=...' if sys.version_info < (3, 10) else 0)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt 'setuptools<82' wheel torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[lite,test,export,bvh,dtw,rtmlib,tensorboard,docs]'
	touch $(READY)

clean:
	rm -rf $(VENV) work_dirs build *.egg-info
