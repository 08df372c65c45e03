PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test abuse fuzz clean

# The main job on a real photograph and pictures derived from it; results in demo/.
demo: $(VENV)/.demo
	$(BIN)/python scripts/make_demo_pictures.py demo/pictures
	$(BIN)/mien predict demo/pictures --save demo/annotated --table demo/faces.csv
	$(BIN)/mien predict demo/pictures --json > demo/faces.jsonl
	$(BIN)/python scripts/make_demo_film.py demo/film.mp4
	$(BIN)/mien predict demo/film.mp4 --save demo/annotated --table demo/film.csv --episodes demo/film.vtt --timeline demo/timeline.png
	@echo "Look at demo/annotated, demo/timeline.png, demo/faces.csv, demo/faces.jsonl and demo/film.csv."

# Format, lint, types and every test.
test: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

# Whatever can be done to mien by accident or malice, about an hour; the table goes into docs/abuse.md.
abuse: $(VENV)/.dev
	$(BIN)/python -m abuse --json docs/numbers/abuse.json --page docs/abuse.md

# Inputs for what parses mien's own files and messages, guided by coverage; an hour.
fuzz: $(VENV)/.dev
	$(BIN)/pip install --quiet atheris
	$(BIN)/python -m abuse.fuzz --json docs/numbers/fuzz.json

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
