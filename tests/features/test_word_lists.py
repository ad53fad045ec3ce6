"""Headings and cells of exports in five languages mean what their English ones mean."""

import unicodedata

import polars as pl
import pytest

from features.catalogue import infer_family
from features.ingest.availability import looks_post_outcome
from features.ingest.column_roles import infer_role
from features.ingest.outcome_column import parse_outcome
from features.word_lists import fold_heading, heading_pattern, match_headings, stage_pattern

FAMILIES = {
    "qualification": (
        "Budget Entscheider Zeitrahmen Standort Bedarf Presupuesto Plazo Ubicación Décideur Besoin Délai "
        "Orçamento Prazo Localização Necessidade"
    ),
    "channel": "Kanal Quelle Leadquelle Herkunft Kampagne Fuente Origen Campaña Canal Fonte Origem",
}
LATE = "Abschlussgrund;Última atividade;Motivo da perda;Dernière activité;Próximo passo;LeadScore__c;Clôture"
EARLY = "Branche;Ort;Secteur;Ciudad;Empresa;Setor;Mitarbeiterzahl;Nombre de empleados"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_heading_in_another_language_joins_the_family_of_the_english_one(family):
    for heading in FAMILIES[family].split():
        assert infer_family(heading) == family, heading


def test_late_facts_are_known_by_name_in_every_language_and_early_ones_are_not():
    assert [name for name in LATE.split(";") if not looks_post_outcome(name)] == []
    assert not [name for name in EARLY.split(";") if looks_post_outcome(name)]


@pytest.mark.parametrize(
    "heading", ["Qualität", "Nächster Schritt", "Última atividade", "Clôture", "Résultat"]
)
def test_neither_accents_nor_case_nor_marks_hide_a_heading(heading):
    bare = "".join(c for c in unicodedata.normalize("NFD", heading) if not unicodedata.combining(c))
    spellings = {
        heading,
        heading.upper(),
        unicodedata.normalize("NFD", heading),
        bare,
        bare.replace(" ", "_"),
    }
    spellings.add(heading.replace("ä", "ae").replace(" ", "-"))
    assert all(map(looks_post_outcome, spellings))


@pytest.mark.parametrize(
    ("won", "lost"),
    [
        ("Gewonnen", "Verloren"),
        ("Gagnée", "Perdue"),
        ("ganado", "perdido"),
        ("Ganha", "Perdida"),
        ("Sim", "Não"),
        ("OUI", "NON"),
        ("Convertido", "No convertido"),
        ("Abgeschlossen und gewonnen", "Abgeschlossen und verloren"),
    ],
)
def test_an_outcome_is_read_in_every_language(won, lost):
    assert parse_outcome(pl.Series("Resultado", [lost, won, None])).to_list() == [0, 1, None]


@pytest.mark.parametrize("heading", ["Téléphone", "Teléfono móvil", "Telefone", "Telefon"])
def test_phone_numbers_are_no_amounts_in_any_language(heading):
    numbers = pl.Series(heading, [491511234567 + 7 * i for i in range(30)])
    assert not infer_role(numbers).used


@pytest.mark.parametrize("heading", ["Code postal", "Código Postal", "CEP", "Numéro de client"])
def test_codes_are_no_amounts_in_any_language(heading):
    numbers = pl.Series(heading, [10115, 20095, 50667] * 10)
    assert infer_role(numbers).role == "category"


def test_words_that_only_look_like_a_heading_are_none():
    assert not heading_pattern("kind").search("Start")
    assert not heading_pattern("won_stage").search("client_gone")
    assert not heading_pattern("channel").search("Analyse")


def test_columns_of_the_contract_are_found_by_whole_headings_and_none_is_taken_twice():
    headings = ["Kontaktart", "Datum", "Kanal", "Kampagnenname", "Kanal 2", "Betrag netto"]
    columns = ("occurred_at", "kind", "channel", "campaign", "amount", "reason")
    assert match_headings(headings, columns) == {
        "occurred_at": "Datum",
        "kind": "Kontaktart",
        "channel": "Kanal",
        "campaign": "Kampagnenname",
    }
    assert match_headings(["Origen"], ("channel", "channel")) == {"channel": "Origen"}


def test_a_heading_without_a_word_is_nothing():
    assert fold_heading("***") == ""
    assert infer_family("") == infer_family("***") == "fit"


@pytest.mark.parametrize(
    ("concept", "names"),
    [
        (
            "won",
            ["SQL", "salesqualifiedlead", "Closed Won", "Kunde geworden", "Cliente", "Ganho", "Gagn\u00e9"],
        ),
        (
            "lost",
            [
                "closedlost",
                "Not Qualified",
                "abgelehnt",
                "Perdu",
                "Descartado",
                "N\u00e3o qualificado",
                "No-Show",
            ],
        ),
        ("early", ["MQL", "Marketing Qualified Lead", "Vorqualifiziert", "Qualificado por marketing"]),
        ("final", ["Closed Won", "Kunde", "Cliente", "Ganho"]),
        ("reopened", ["Re-opened", "reopened", "Wiederer\u00f6ffnet", "Rouvert", "Reabierto", "Reaberto"]),
        (
            "date",
            [
                "Became an SQL Date",
                "hs_date_entered_123",
                "Vertragsdatum",
                "Fecha de cierre",
                "Date de signature",
            ],
        ),
    ],
)
def test_stages_are_known_in_five_languages(concept, names):
    assert [name for name in names if not stage_pattern(concept).search(name)] == []
    assert not any(stage_pattern(concept).search(name) for name in ("Neu", "Contacted", "Industry", "Aktiv"))
