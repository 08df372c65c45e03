PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test clean

# The main job on a real photograph and pictures derived from it; results in demo/.
demo: $(VENV)/.demo
	$(BIN)/python scripts/make_demo_pictures.py demo/pictures
	$(BIN)/mien predict demo/pictures --save demo/annotated --table demo/faces.csv
	$(BIN)/mien predict demo/pictures --json > demo/faces.jsonl
	@echo "Look at demo/annotated, demo/faces.csv and demo/faces.jsonl."

# Format, lint, types and every test.
test: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable . "scikit-image>=0.25"
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --editable ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) demo dist build
