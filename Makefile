# make test: create .venv, install into it, check style and types, and run the tests.
# make demo: label free photographs, then run the whole method on generated data; a stopped run goes
#   on by the same command.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: test demo clean

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --quiet --numprocesses 2 --dist loadfile --no-loadscope-reorder

demo: .venv/installed
	$(BIN)/python predict.py docs/photographs/*.jpg --save-dir ./result/photographs
	$(BIN)/python reproduce.py toy

.venv/installed: requirements.txt requirements-dev.txt
	@command -v $(CXX) >/dev/null || { \
	  echo 'No C++ compiler ($(CXX)); pydensecrf2 needs one.' \
	    'On Debian or Ubuntu: apt-get install build-essential python3-dev'; exit 1; }
	$(PYTHON) -m venv .venv || { echo 'On Debian or Ubuntu: apt-get install python3-venv'; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

clean:
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache
