# Two commands on a fresh machine with Python >= 3.10: `make run` and `make test`.
#   make run AUDIO=meeting.m4a     your own recording
#   make check                     lint, types, import layers, tests: what continuous integration runs

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
OUTPUT ?= output

.PHONY: run test check lint clean

run: $(VENV)/.core
ifdef AUDIO
	@$(BIN)/diarist run "$(AUDIO)" $(ARGS)
else
	@wav="$$($(BIN)/diarist models path sample-wav)" && rttm="$$($(BIN)/diarist models path sample-rttm)" && \
	echo "a 30 s phone conversation ($$wav):" && \
	$(BIN)/diarist run "$$wav" --format text --timings && \
	$(BIN)/diarist run "$$wav" --out "$(OUTPUT)" && \
	echo && $(BIN)/diarist score "$$rttm" "$(OUTPUT)/sample.rttm" --reference-kind manual
endif

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 $(ARGS)

check: $(VENV)/.dev lint
	$(BIN)/python -m pytest -n 2 $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) $(OUTPUT)

$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.core: $(VENV)/.venv pyproject.toml
	$(PIP) -e .
	touch $@

$(VENV)/.test: $(VENV)/.venv pyproject.toml
	$(PIP) -e '.[test]'
	touch $@

$(VENV)/.dev: $(VENV)/.venv pyproject.toml
	$(PIP) -e '.[dev]'
	touch $@
