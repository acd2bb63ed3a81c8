# demo: build every recipe and say where the report is.  test: everything that must hold.  Both set themselves up.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test check clean
demo: $(VENV)/.ready
	$(BIN)/onnxbuild make -k
	@echo "Report: reports/index.html"

test: $(VENV)/.ready $(VENV)/.qnn
	$(BIN)/python -m pytest -n auto --dist loadgroup

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all,dev]' -c constraints.txt
	@touch $@

# It wants the distribution onnxruntime, which would overwrite the files of onnxruntime-gpu, so it is no extra.
$(VENV)/.qnn: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt onnxruntime-qnn && touch $@ || \
		echo "onnxruntime-qnn could not be installed: tests of compiled models will be skipped"

clean:
	rm -rf $(VENV) build .onnxbuild
