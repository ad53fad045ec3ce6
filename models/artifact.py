"""A model as a folder of text files with checksums: readable, diffable, and no pickle anywhere.

``model.lgb`` holds the trees, ``features.json`` the specs, ``encodings.json`` how words become numbers,
``predictor.json`` the additive part and the calibration, ``grades.json``, ``card.json``, ``doubt.json`` how
sure its scores are, ``track_record.json`` how leads converted by their values, ``parts.json`` how fit and
engagement are spread (folders of earlier releases lack these three), ``accounts.json`` how alike colleagues
are and ``offers.json`` which offers leads took next (where the data say so), and ``SHA256SUMS`` in the format
of sha256sum, so that anyone can check one without leadloop.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from features.spec import FeatureSet
from models.account_chance import AccountDependence
from models.conversion import ConversionModel
from models.grades import Grades
from models.model_card import ModelCard
from models.next_offers import NextOffers
from models.observed_rates import ObservedRates
from models.plugin_part import PART as LEARNER
from models.plugin_part import LearnerError
from models.predictor import TREES, Predictor
from models.score_parts import PartScales
from models.tree_structure import TreeStructureError
from models.uncertainty import ScoreUncertainty

FORMAT = 1
# Of a model whose learner is a plug-in: a release that knows no plug-ins must not load it without one.
PLUGIN_FORMAT = 2
SUMS = "SHA256SUMS"
# Made of a model that has its version already, so no checksum is about it and no version depends on it.
REPORT = "report.html"
_FEATURES, _GRADES, _CARD, _FORMAT = "features.json", "grades.json", "card.json", "format.json"
_UNCERTAINTY, _OBSERVED_RATES, _PARTS = "doubt.json", "track_record.json", "parts.json"
_ACCOUNTS, _OFFERS = "accounts.json", "offers.json"


class ArtifactError(ValueError):
    """A model folder that cannot be trusted or read; the message says which file and what to do."""


def save(model: ConversionModel, folder: Path) -> ConversionModel:
    """Write a model to a folder of text files with checksums, all or nothing.

    Args:
        model: The model; the version it has so far does not matter.
        folder: The folder, which is replaced if it exists.

    Returns:
        The model with its version, the fingerprint of the folder.

    Raises:
        OSError: the disk is full or the folder not writable; then ``folder`` is as it was before.
    """
    files = _model_files(model)
    sums = "".join(f"{_digest(text.encode())}  {name}\n" for name, text in sorted(files.items()))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        new_folder = Path(scratch) / "new"
        new_folder.mkdir()
        for name, text in (files | {SUMS: sums}).items():
            _write(new_folder / name, text)
        if folder.exists():
            folder.rename(Path(scratch) / "old")
        new_folder.rename(folder)
    return replace(model, version=_version(sums))


def load(folder: Path) -> ConversionModel:
    """Read the model in a folder after checking every file against its checksum.

    Args:
        folder: A folder that ``save`` wrote, of this release or an earlier one.

    Returns:
        The model with its version.

    Raises:
        ArtifactError: the folder is missing, altered, truncated or of another format.
    """
    sums, contents = _verify_checksums(folder)
    try:
        parts = {name: content.decode() for name, content in contents.items()}
        _check_format(folder, parts)
        return ConversionModel(
            features=FeatureSet.from_json(parts.pop(_FEATURES)),
            grades=Grades(tuple(json.loads(parts.pop(_GRADES)))),
            card=ModelCard.from_json(parts.pop(_CARD)),
            uncertainty=ScoreUncertainty.from_json(parts.pop(_UNCERTAINTY))
            if _UNCERTAINTY in parts
            else None,
            observed_rates=ObservedRates.from_json(parts.pop(_OBSERVED_RATES))
            if _OBSERVED_RATES in parts
            else ObservedRates(),
            part_scales=PartScales.from_json(parts.pop(_PARTS)) if _PARTS in parts else None,
            account_dependence=AccountDependence.from_json(parts.pop(_ACCOUNTS))
            if _ACCOUNTS in parts
            else None,
            next_offers=NextOffers.from_json(parts.pop(_OFFERS)) if _OFFERS in parts else None,
            predictor=Predictor.from_files(parts),
            version=_version(sums),
        )
    except LearnerError as error:
        msg = f"{folder}: {error}"
        raise ArtifactError(msg) from error
    except TreeStructureError as error:
        msg = f"{folder / TREES}: LightGBM cannot read these trees ({error}); train it again"
        raise ArtifactError(msg) from error
    except ArtifactError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        msg = f"{folder}: not a model that this leadloop can read ({error!r}); train it again"
        raise ArtifactError(msg) from error


def read_card(folder: Path) -> tuple[str, ModelCard]:
    """The version and the card of the model in a folder, without loading the model.

    Raises:
        ArtifactError: the folder is missing or altered, or its card cannot be read.
    """
    sums, contents = _verify_checksums(folder)
    try:
        return _version(sums), ModelCard.from_json(contents[_CARD].decode())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"{folder / _CARD}: not a card that this leadloop can read ({error!r})"
        raise ArtifactError(msg) from error


def _model_files(model: ConversionModel) -> dict[str, str]:
    predictor = model.predictor.to_files()
    number = PLUGIN_FORMAT if LEARNER in predictor else FORMAT
    return {
        **predictor,
        _FEATURES: model.features.to_json(),
        _GRADES: json.dumps(model.grades.thresholds),
        _CARD: model.card.to_json(),
        _OBSERVED_RATES: model.observed_rates.to_json(),
        **({} if model.uncertainty is None else {_UNCERTAINTY: model.uncertainty.to_json()}),
        **({} if model.part_scales is None else {_PARTS: model.part_scales.to_json()}),
        **({} if model.account_dependence is None else {_ACCOUNTS: model.account_dependence.to_json()}),
        **({} if model.next_offers is None else {_OFFERS: model.next_offers.to_json()}),
        _FORMAT: json.dumps({"format": number, "features": model.features.fingerprint}),
    }


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _verify_checksums(folder: Path) -> tuple[str, dict[str, bytes]]:
    """The text of the checksums, and each file that they are about, read once and found as it was."""
    _refuse_links(folder)
    if not (folder / SUMS).is_file():
        msg = f"{folder}: no model here ({SUMS} is missing); name the folder that `leadloop train` printed"
        raise ArtifactError(msg)
    sums = (folder / SUMS).read_text(encoding="utf-8", errors="replace")
    contents: dict[str, bytes] = {}
    for line in sums.splitlines():
        digest, _, name = line.partition("  ")
        path = folder / name
        if Path(name).name != name or not path.is_file():
            msg = f"{folder}: {name[:80]} is missing; copy the folder whole or train again"
            raise ArtifactError(msg)
        contents[name] = path.read_bytes()
        if _digest(contents[name]) != digest:
            msg = f"{path}: altered or truncated since it was saved; copy the folder again or train again"
            raise ArtifactError(msg)
    return sums, contents


def _refuse_links(folder: Path) -> None:
    """A link would lead out of the folder, to what no checksum is about; a pipe or device never ends."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            msg = f"{path}: a link or no plain file; a model folder holds files, so copy them themselves"
            raise ArtifactError(msg)


def _check_format(folder: Path, parts: dict[str, str]) -> None:
    version = json.loads(parts.pop(_FORMAT, "{}")).get("format")
    if version not in {FORMAT, PLUGIN_FORMAT}:
        msg = f"{folder}: model format {version}, this leadloop reads format {FORMAT}; train it again"
        raise ArtifactError(msg)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _version(sums: str) -> str:
    """Twelve hex digits: two folders share them only if every file is the same."""
    return _digest(sums.encode())[:12]
