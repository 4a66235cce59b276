# make demo       pre-trains on generated movements, evaluates on generated actions: table and
#                 pictures in work_dirs/demo; SEEDS="0 1 2" for several runs
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
DEMO := work_dirs/demo/seed
MOVEMENTS := configs/skeletonclr_movements_demo.py
ACTIONS := configs/aimclr_synthetic_xsub_joint_continued.py
# mixed precision where the CPU has bfloat16 instructions or there is a GPU
AMP ?= $(if $(shell grep -om1 -E 'avx512_bf16|amx_bf16' /proc/cpuinfo || command -v nvidia-smi),--amp)

.PHONY: demo demo-data test test-slow lint docs clean

demo: $(SEEDS:%=demo-seed%)

demo-data: $(READY)
	$(BIN)/python tools/prepare_data.py synthetic

demo-seed%: demo-data
	$(BIN)/python tools/train.py $(MOVEMENTS) $(AMP) --seed $* --work-dir $(DEMO)$*/movements
	$(BIN)/python tools/train.py $(ACTIONS) $(AMP) --seed $* --work-dir $(DEMO)$*/aimclr \
		--pretrained $$(cat $(DEMO)$*/movements/last_checkpoint)
	$(BIN)/python tools/analyze.py curves $(DEMO)$*/movements
	$(BIN)/python tools/test.py $(ACTIONS) raw random $$(cat $(DEMO)$*/movements/last_checkpoint) \
		$$(cat $(DEMO)$*/aimclr/last_checkpoint) generated-joint generated-3s \
		--eval knn knn_whitened dtw linear --readout equal_motion \
		--seed $* --out $(DEMO)$*/result.json --dump $(DEMO)$*/eval
	$(BIN)/python tools/analyze.py tsne $(DEMO)$*/eval/aimclr/epoch_*/features.npz \
		--out $(DEMO)$*/embedding.png

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
