# A thin face of run.py, which works without make: python run.py --help
PYTHON ?= python3
CHAPTER ?= foundations/first_recommender

.PHONY: book chapter test lint lab student grade results serve clean

book test lint lab student grade results serve clean:
	$(PYTHON) run.py $@ $(ARGS)

chapter:
	$(PYTHON) run.py chapter $(CHAPTER) $(ARGS)
