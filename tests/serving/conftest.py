"""A small company's model and lead: every kind of feature, and arithmetic that can be done by hand."""

from __future__ import annotations

import gc
import itertools
import math
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import lightgbm as lgb
import numpy as np
import polars as pl
import psycopg
import pytest
from _bentoml_sdk.io_models import IOMixin
from alembic.util import pyfiles
from bentoml._internal.configuration import containers
from bentoml._internal.configuration.helpers import import_configuration_spec

from features.spec import (
    DisplayText,
    EventSelection,
    FeatureSet,
    attribute,
    count,
    distinct,
    earliest,
    history_attribute,
    latest,
    lead_age,
    recency,
    span,
    tenure,
    total,
    trend,
)
from models import artifact
from models.calibration import PlattCalibration
from models.conversion import ConversionModel
from models.encoding import FeatureEncoder, FeatureEncoding
from models.explanation import Explanation, Reason, Score, log_odds_to_points, log_odds_to_total_points
from models.grades import Grades
from models.model_card import ModelCard
from models.observed_rates import ObservedRates
from models.predictor import Predictor
from models.score_parts import PartScale, PartScales
from serving import workload
from serving.decision_log import database
from serving.decision_log.database import open_log, writing
from serving.decision_log.settings import OFF, PLACE
from serving.settings import ALLOWED_HOSTS, RESCORE

SAYS = DisplayText("{value}", "{value}")
TOUCHES = EventSelection("behaviour", "touchpoints")
DEMOS = EventSelection("intent", "touchpoints", ("demo_request",))
COLLEAGUES = EventSelection("account", "account_touchpoints", label="colleagues")
WON = EventSelection("account", "account_transitions", ("sql",), label="colleagues_sql")

FEATURES = FeatureSet(
    (
        attribute("industry", family="fit", says=DisplayText("Industry: {value}", "Branche: {value}")),
        attribute("employees", family="fit", says=SAYS, unit="number"),
        attribute("business_email", family="fit", says=SAYS, unit="flag"),
        attribute("account.region", family="account", says=SAYS),
        history_attribute("Budget", family="qualification", says=SAYS, unit="number"),
        history_attribute("Need", family="qualification", says=SAYS),
        lead_age(SAYS),
        count(TOUCHES.last(30), SAYS),
        count(DEMOS, DisplayText("Demo requests: {value}", "Demo-Anfragen: {value}")),
        recency(DEMOS, SAYS),
        tenure(TOUCHES, SAYS),
        span(TOUCHES, SAYS),
        trend(TOUCHES, SAYS),
        total(TOUCHES, "amount", SAYS),
        distinct(TOUCHES, "channel", SAYS),
        latest(TOUCHES, "offer", SAYS),
        earliest(TOUCHES, "channel", SAYS),
        count(EventSelection("conversions", "transitions", ("mql",)), SAYS),
        count(COLLEAGUES, SAYS),
        distinct(COLLEAGUES, "colleague", SAYS),
        count(WON, SAYS),
    )
)
CARD = ModelCard(
    label="sql within 60 days",
    created_at="2026-01-01",
    rows=9,
    positives=3,
    time_ordered=True,
    recipe="by hand",
    ignored=("Prospect ID",),
)
GRADES = Grades((0.9, 0.5, 0.1))
FAMILIES = [spec.family for spec in FEATURES.specs]
SCALES = PartScales(*[PartScale(tuple(n / 10 for n in range(101)), (5.0, 2.0, 1.0))] * 2)


@dataclass(frozen=True)
class ByHand:
    """A model that anyone can check: a number adds its logarithm, a word its length, in tenths."""

    features: FeatureSet = FEATURES
    card: ModelCard = CARD
    grades: Grades = GRADES
    version: str = "byhand000000"
    base: float = -2.0
    part_scales: PartScales = SCALES
    account_dependence: object = None
    next_offers: object = None
    observed_rates: ObservedRates = field(default_factory=ObservedRates)

    def score(self, row, lead_id, as_of):
        log_odds = math.fsum([self.base, *map(_weight, row.values())])
        probability = 1 / (1 + math.exp(-log_odds))
        grade = self.grades.grade(probability)
        return Score(
            lead_id, as_of, log_odds, probability, log_odds_to_total_points(log_odds), grade, self.version
        )

    def explain(self, row, lead_id, as_of, lang="en", **_):
        reasons = [
            Reason(
                spec.name,
                spec.family,
                row[spec.name],
                weight,
                log_odds_to_points(weight),
                spec.says.render(lang).format(value=row[spec.name]),
            )
            for spec in self.features.specs
            for weight in [_weight(row[spec.name])]
        ]
        ordered = tuple(sorted(reasons, key=lambda reason: -abs(reason.contribution)))
        return Explanation(self.score(row, lead_id, as_of), self.base, ordered, self._parts(row))

    def score_with_parts(self, row, lead_id, as_of):
        return self.score(row, lead_id, as_of), self._parts(row)

    def score_many_with_parts(self, rows):
        named = rows.iter_rows(named=True)
        return [(score, self._parts(row)) for score, row in zip(self.score_many(rows), named, strict=True)]

    def _parts(self, row):
        weights = np.array([[_weight(value) for value in (row[name] for name in self.features.names)]])
        return self.part_scales.parts(weights, [spec.family for spec in self.features.specs])[0]

    def score_many(self, rows):
        return [
            self.score({name: row[name] for name in self.features.names}, row["lead_id"], row["as_of"])
            for row in rows.iter_rows(named=True)
        ]


def _weight(value):
    if value is None:
        return 0.0
    return (len(value) if isinstance(value, str) else math.log1p(abs(value))) / 10


def _encoding(spec):
    if spec.is_category:
        levels = ("ads", "demo", "machinery")
        return FeatureEncoding(spec.name, "category", levels, rates=(0.1, 0.4, 0.5, 0.3, 0.2), alone=(0, 4))
    return FeatureEncoding(spec.name, "number")


def learned():
    """A small real model: trees of thirty rounds on leads that were drawn."""
    random = np.random.default_rng(7)
    rows = pl.DataFrame(
        {
            spec.name: random.choice(["ads", "demo", "machinery", "other"], 500)
            if spec.is_category
            else np.where(random.random(500) < 0.2, np.nan, random.exponential(50, 500))
            for spec in FEATURES.specs
        }
    )
    encodings = FeatureEncoder(tuple(map(_encoding, FEATURES.specs)))
    matrix = encodings.encode(rows)[:, : encodings.tree_width]
    outcome = (
        random.random(500) < 0.2 + 0.5 * (rows["demo_request.count"].fill_nan(0).to_numpy() > 40)
    ).astype(float)
    settings = {"objective": "binary", "num_leaves": 7, "verbose": -1, "num_threads": 1, "seed": 7}
    booster = lgb.train(settings, lgb.Dataset(matrix, outcome), num_boost_round=30)
    predictor = Predictor(encodings, PlattCalibration(0.9, -0.2), booster=booster)
    scales = PartScales.of(predictor.contributions(encodings.encode(rows))[1], FAMILIES, 0.1)
    return ConversionModel(FEATURES, predictor, GRADES, CARD, part_scales=scales)


@pytest.fixture(scope="session", autouse=True)
def no_log():
    """Nothing is logged, and nothing scored in the background, unless a test asks for it.

    And the test client's own name is one of the service's.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PLACE, OFF)
        patch.setenv(RESCORE, OFF)
        patch.setenv(ALLOWED_HOSTS, "testserver")
        yield


@pytest.fixture(scope="session", autouse=True)
def ready_log_file(tmp_path_factory):
    """A new log on SQLite is a copy of a migrated one: hundreds of tests open a log of their own."""
    path = tmp_path_factory.mktemp("ready") / "decisions.db"
    log = writing(open_log(str(path)))
    with log.connect() as connection:
        key = connection.exec_driver_sql("SELECT hash_key FROM log_state").scalar_one().encode()
    log.dispose()
    assert not Path(f"{path}-wal").exists()
    ready, create = path.read_bytes(), database.create_owner_only
    assert ready.count(key) == 1

    def create_ready(new):
        if not new.exists():
            new.parent.mkdir(parents=True, exist_ok=True)
            # Each log has a key of its own, and none is there in part: several workers may begin at once.
            copy = new.with_name(f".{secrets.token_hex(8)}")
            create(copy)
            copy.write_bytes(ready.replace(key, secrets.token_hex(len(key) // 2).encode()))
            with suppress(FileExistsError):
                os.link(copy, new)
            copy.unlink()
        create(new)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "create_owner_only", create_ready)
        yield


@pytest.fixture(scope="session", autouse=True)
def migrations():
    """Alembic reads every migration whenever a log is opened: of hundreds of times, once is enough."""
    load = pyfiles.load_module_py
    read = cache(load)

    def load_once(module_id, path):
        # The environment is no migration: that it is loaded runs them.
        return (load if path.name == "env.py" else read)(module_id, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyfiles, "load_module_py", load_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def bentoml_configuration():
    """BentoML reads a file and validates the same configuration for every service: of hundreds, once each."""
    read = cache(containers.get_default_config)
    schema = import_configuration_spec(version=2).SCHEMA
    validate, valid = schema.validate, []

    def validate_once(configuration):
        if configuration not in valid:
            asked = deepcopy(configuration)
            validate(configuration)
            valid.append(asked)
        return configuration

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(containers, "get_default_config", lambda version: deepcopy(read(version)))
        patch.setattr(schema, "validate", validate_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def bentoml_schemas():
    """For every start BentoML writes the same schemas of the endpoints: of hundreds, once is enough."""
    write = IOMixin.model_json_schema.__func__

    @cache
    def written(kind, arguments):
        return write(kind, **dict(arguments))

    def copy_of_schema(kind, **arguments):
        return deepcopy(written(kind, tuple(sorted(arguments.items()))))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(IOMixin, "model_json_schema", classmethod(copy_of_schema))
        yield


@pytest.fixture(scope="session", autouse=True)
def uncollected():
    """A service goes through all objects once, at its start: here these are pytest's, and it starts often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workload, "gc", SimpleNamespace(collect=int, freeze=gc.freeze, unfreeze=gc.unfreeze))
        yield


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "small"
    artifact.save(learned(), folder)
    return folder


@pytest.fixture(scope="session")
def by_hand():
    return ByHand()


@pytest.fixture(scope="session", params=["by hand", "learned"])
def model(request):
    """Both kinds, one after the other: what holds for a model holds for any."""
    return ByHand() if request.param == "by hand" else artifact.load(request.getfixturevalue("model_folder"))


@pytest.fixture(scope="session")
def flat_model():
    """A model of a flat export: nothing but attributes."""
    plain = [spec for spec in FEATURES.specs if spec.source == "leads" and spec.of]
    return replace(ByHand(), features=FeatureSet(tuple(plain)))


@pytest.fixture
def lead():
    """A lead with one of everything that a request may hold."""
    return {
        "lead_id": "0012",
        "created_at": "2026-04-01T00:00:00Z",
        "as_of": "newest",
        "attributes": {"industry": "machinery", "employees": 120, "business_email": True},
        "attribute_history": [
            {"name": "Budget", "known_at": "2026-04-20T00:00:00Z", "value": 20000},
            {"name": "Need", "known_at": "2026-04-21T00:00:00Z", "value": "urgent"},
        ],
        "touchpoints": [
            {
                "occurred_at": "2026-05-01T10:00:00+02:00",
                "kind": "webinar",
                "channel": "linkedin",
                "amount": 5,
            },
            {"occurred_at": "2026-05-04T08:30:00+02:00", "kind": "demo_request", "offer": "demo"},
        ],
        "transitions": [{"occurred_at": "2026-05-01T10:00:00+02:00", "stage": "mql"}],
        "account": {
            "attributes": {"region": "north"},
            "touchpoints": [{"lead_id": "7", "occurred_at": 1777000000, "kind": "visit"}],
            "transitions": [{"lead_id": "7", "occurred_at": 1777000001, "stage": "sql"}],
        },
    }


# A log on SQLite and one on PostgreSQL: every law holds for both.
NUMBERS = itertools.count()


def _tools():
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs and (on_path := shutil.which("initdb")) is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    return programs[-1].parent if programs else Path(on_path).parent


def _user():
    """PostgreSQL refuses to run as root: another user is borrowed where the tests do."""
    users = [user.pw_name for user in pwd.getpwall() if user.pw_name in {"postgres", "nobody"}]
    return max(users) if os.geteuid() == 0 else None


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL of its own in a temporary folder, on a port that was free."""

    folder: Path
    port: int
    user: str | None

    def run(self, tool, *arguments):
        command = [_tools() / tool, "-D", self.folder / "data", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder, user=self.user)

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        self.run("pg_ctl", "-w", "-l", self.folder / "log", "-o", options, "start")

    def stop(self):
        self.run("pg_ctl", "-w", "-m", "immediate", "stop")

    def database(self):
        """The URL of a database that is empty."""
        url = f"postgresql://me@127.0.0.1:{self.port}"
        name = f"log_{next(NUMBERS)}"
        with psycopg.connect(f"{url}/postgres", autocommit=True) as db:
            db.execute(f"CREATE DATABASE {name}")
        return f"{url}/{name}"


@contextmanager
def start_cluster():
    """A PostgreSQL that runs while the context lasts; the test is skipped where there is none."""
    _tools()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    database_cluster = Cluster(Path(tempfile.mkdtemp()), port, _user())
    if database_cluster.user is not None:
        shutil.chown(database_cluster.folder, database_cluster.user)
    try:
        database_cluster.run("initdb", "-U", "me", "-A", "trust", "-E", "UTF8", "--no-sync")
        database_cluster.start()
        yield database_cluster
        database_cluster.stop()
    finally:
        shutil.rmtree(database_cluster.folder)


@pytest.fixture(scope="session")
def cluster():
    with start_cluster() as database_cluster:
        yield database_cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path):
    if request.param == "sqlite":
        return str(tmp_path / "decisions.db")
    return request.getfixturevalue("cluster").database()


@pytest.fixture
def log(place):
    engine = writing(open_log(place))
    yield engine
    engine.dispose()
