"""How the shipped inference traces of the event-offloading systems were made.

``python -m sixgym.agents.traces digits38 --out DIR`` trains a multi-exit network (the device) and
a classifier (the server) on data that comes with scikit-learn, cross-fitted in five folds, and
writes the scores of the held-out samples as ``digits38.npz`` with a card. Needs the ``train``
extra; the environments read the shipped files and need neither the data nor scikit-learn.
"""
