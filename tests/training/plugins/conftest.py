"""A package as pip installs one: a module on the path and its metadata with entry points."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

MODULE = "acme_leads"
ENTRY_POINTS = """\
[leadloop.features]
engagement = acme_leads:features

[leadloop.learners]
acme-logit = acme_leads:Logit
acme-forest = acme_leads:forest

[leadloop.metrics]
top_tenth = acme_leads:top_tenth

[leadloop.report_sections]
regions = acme_leads:regions
"""
SOURCE = '''\
"""What a data scientist would write: a feature, two learners, a metric and a section of the report."""

import json

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from features.spec import DisplayText, EventSelection, count, ratio
from models.metrics import bootstrap_interval, brier_score
from training.report.plugin_sections import CustomSection, CustomTable


def features(history):
    touches = EventSelection("tempo", "touchpoints")
    text = DisplayText("Share of touches in 7 days: {value}", "Anteil der Kontakte in 7 Tagen: {value}")
    yield ratio(count(touches.last(7), text), count(touches, text), text, name="touches.recent_share")


class Logit(ClassifierMixin, BaseEstimator):
    """A logistic regression that says what each column adds, and writes its coefficients as JSON."""

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        self.usual_ = np.nan_to_num(np.nanmedian(X, axis=0))
        filled = self._filled(X)
        self.mean_, self.scale_ = filled.mean(axis=0), filled.std(axis=0) + 1e-9
        model = LogisticRegression(max_iter=500).fit((filled - self.mean_) / self.scale_, y, sample_weight)
        self.weights_, self.base_ = model.coef_[0], float(model.intercept_[0])
        return self

    def predict_proba(self, X):
        base, shares = self.contributions(X)
        p = 1 / (1 + np.exp(-(base + shares.sum(axis=1))))
        return np.column_stack([1 - p, p])

    def contributions(self, X):
        return self.base_, (self._filled(X) - self.mean_) / self.scale_ * self.weights_

    def to_files(self):
        names = ("usual_", "mean_", "scale_", "weights_")
        state = {name: getattr(self, name).tolist() for name in names} | {"base_": self.base_}
        return {"coefficients.json": json.dumps(state)}

    @classmethod
    def from_files(cls, files):
        model = cls()
        for name, value in json.loads(files["coefficients.json"]).items():
            setattr(model, name, np.array(value) if isinstance(value, list) else value)
        return model

    def _filled(self, X):
        return np.where(np.isnan(X), self.usual_, X)


def forest():
    return make_pipeline(
        SimpleImputer(keep_empty_features=True),
        RandomForestClassifier(20, min_samples_leaf=20),
    )


def top_tenth(y, p, weights):
    order = np.argsort(-p, kind="stable")
    inside = np.cumsum(weights[order]) <= 0.1 * weights.sum()
    if not weights[order][inside].sum():
        return 0.0
    return float(np.average(y[order][inside], weights=weights[order][inside]))


def regions(inputs):
    p = inputs.scores["probability"].to_numpy()
    rows = (
        (DisplayText("Judged leads", "Bewertete Leads"), len(p)),
        ("Brier", bootstrap_interval(brier_score, inputs.label, p, inputs.lead)),
        ("<b>mean</b>", float(p.mean())),
    )
    return CustomSection(
        DisplayText("Our regions", "Unsere Regionen"),
        (DisplayText("What & where.", "Was & wo."),),
        (CustomTable(
            DisplayText("Figures", "Zahlen"),
            (DisplayText("figure", "Zahl"), DisplayText("value", "Wert")),
            rows,
        ),),
    )
'''


@dataclass(frozen=True)
class Installer:
    """Puts packages into a folder that is on the path."""

    folder: Path

    def install(self, module=MODULE, source=SOURCE, entry_points=ENTRY_POINTS, version="1.2"):
        """A module and the metadata that an installer leaves beside it."""
        (self.folder / f"{module}.py").write_text(source)
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        name = module.replace("_", "-")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entry_points)
        return self.folder

    def remove(self):
        """As pip uninstalls."""
        for info in self.folder.glob("*.dist-info"):
            (info / "entry_points.txt").unlink()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site-packages of the test's own; what is imported from it is forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before, path = set(sys.modules), list(sys.path)
    yield Installer(folder)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    sys.path[:] = path


@pytest.fixture
def acme(site):
    """The package of this module, installed."""
    site.install()
    return site
