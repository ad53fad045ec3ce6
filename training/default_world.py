"""The world of ``leadloop demo``: a company that sells software to companies, two years of its CRM.

Columns of figures are, in this order, buyers, evaluators, learners and strays. What sets buyers apart is
what they ask for; what sets learners apart is that they are busy without asking, which is whom an MQL rule
that counts clicks takes for buyers.
"""

from __future__ import annotations

from datetime import UTC, datetime

from features.clock import epoch
from training.world import Attribute, Intent, Stream, World

_INTENTS = (
    Intent("buyer", 0.15, days_to_sql=45, days_to_disqualified=500),
    Intent("evaluator", 0.23, days_to_sql=400, days_to_disqualified=400),
    Intent("learner", 0.40, days_to_sql=4000, days_to_disqualified=300),
    Intent("stray", 0.22, days_to_sql=9000, days_to_disqualified=75),
)

_ATTRIBUTES = (
    Attribute(
        "industry",
        ("manufacturing", "software", "retail", "logistics", "education", "public", "consulting", "health"),
        (
            (24, 20, 10, 16, 3, 5, 8, 14),
            (20, 20, 12, 13, 6, 8, 10, 11),
            (10, 16, 12, 8, 20, 10, 16, 8),
            (9, 14, 16, 9, 14, 10, 18, 10),
        ),
        missing=0.12,
    ),
    Attribute(
        "job_role",
        ("operations", "it", "marketing", "sales", "finance", "research", "student", "other"),
        (
            (28, 24, 10, 12, 14, 5, 1, 6),
            (22, 24, 14, 10, 9, 10, 2, 9),
            (12, 16, 18, 8, 5, 18, 13, 10),
            (8, 10, 16, 20, 4, 8, 16, 18),
        ),
        missing=0.1,
    ),
    Attribute(
        "seniority",
        ("executive", "director", "manager", "specialist", "entry"),
        ((16, 28, 34, 18, 4), (9, 20, 36, 28, 7), (4, 8, 22, 44, 22), (7, 8, 17, 36, 32)),
        missing=0.15,
    ),
    Attribute(
        "company_size",
        (1, 11, 51, 201, 1001, 5001, 40001),
        ((5, 14, 28, 30, 16, 7), (10, 20, 27, 23, 13, 7), (24, 24, 20, 14, 10, 8), (38, 24, 14, 10, 8, 6)),
        missing=0.2,
    ),
    Attribute(
        "country",
        ("DE", "AT", "CH", "NL", "FR", "GB", "US", "IN"),
        (
            (42, 10, 12, 9, 7, 8, 9, 3),
            (38, 9, 10, 9, 9, 10, 11, 4),
            (28, 7, 7, 8, 10, 12, 16, 12),
            (20, 5, 4, 6, 8, 11, 22, 24),
        ),
        missing=0.03,
    ),
    Attribute(
        "first_channel",
        ("organic_search", "paid_search", "paid_social", "referral", "email", "direct", "partner"),
        (
            (24, 20, 5, 18, 6, 13, 14),
            (28, 20, 9, 13, 8, 14, 8),
            (34, 12, 20, 6, 12, 13, 3),
            (24, 18, 28, 4, 6, 18, 2),
        ),
        missing=0.02,
    ),
    Attribute("business_email", (0, 1, 2), ((7, 93), (16, 84), (44, 56), (68, 32))),
    Attribute(
        "first_conversion",
        (
            "Newsletter",
            "Trends white paper",
            "Industry outlook",
            "Buyer's guide",
            "Product tour",
            "Free trial",
            "Contact form",
            "Live demo",
            "Quote",
        ),
        (
            (8, 11, 6, 18, 12, 13, 12, 14, 6),
            (13, 20, 10, 17, 13, 12, 8, 5, 2),
            (26, 34, 17, 7, 6, 6, 3, 0.7, 0.3),
            (30, 24, 6, 4, 3, 14, 17, 1, 1),
        ),
    ),
    Attribute(
        "timeline",
        ("this quarter", "this year", "next year", "none"),
        ((46, 36, 10, 8), (18, 38, 26, 18), (3, 10, 25, 62), (4, 8, 12, 76)),
        missing=0.4,
        asked=25,
    ),
    Attribute(
        "budget",
        (0, 1_000, 10_000, 50_000, 250_000),
        ((10, 30, 40, 20), (24, 38, 28, 10), (66, 22, 9, 3), (76, 16, 5, 3)),
        missing=0.55,
        asked=30,
    ),
)

_WEB = ("direct", "organic_search", "paid_search", "referral")
_STREAMS = (
    Stream("visit", (2.6, 2.2, 1.7, 0.9), channels=_WEB, seconds=150, points=1),
    Stream("page_view", (3.6, 3.0, 2.6, 1.0), channels=_WEB, seconds=50, points=1),
    Stream("product_view", (1.5, 1.0, 0.4, 0.15), channels=_WEB, seconds=70, points=2),
    Stream("pricing_view", (0.95, 0.45, 0.1, 0.08), channels=_WEB, seconds=60, points=5),
    Stream("download", (0.2, 0.3, 0.5, 0.08), "Trends white paper", "awareness", points=8),
    Stream("download", (0.4, 0.3, 0.1, 0.02), "Buyer's guide", "consideration", points=8),
    Stream("webinar", (0.1, 0.15, 0.28, 0.03), "Industry outlook", "awareness", late=0.5, points=10),
    Stream("webinar", (0.28, 0.25, 0.1, 0.02), "Product tour", "consideration", late=0.5, points=10),
    Stream("signup", (0.18, 0.12, 0.05, 0.06), "Free trial", "decision", points=15),
    Stream("demo_request", (0.42, 0.07, 0.012, 0.01), "Live demo", "decision", points=30),
    Stream("price_request", (0.22, 0.05, 0.008, 0.01), "Quote", "decision", amount=1_500_000, points=30),
    Stream("contact_request", (0.26, 0.09, 0.03, 0.07), "Contact form", "decision", points=25),
    Stream("availability_request", (0.1, 0.03, 0.008, 0.01), points=20),
    Stream("email_subscribe", (0.08, 0.1, 0.14, 0.05), "Newsletter", "awareness", points=3),
    Stream("email_unsubscribe", (0.03, 0.05, 0.07, 0.12), channels=("email",)),
    Stream("email_open", (1.4, 1.4, 1.7, 0.4), channels=("email",), campaign="newsletter", points=1),
    Stream("email_click", (0.7, 0.5, 0.4, 0.06), channels=("email",), campaign="newsletter", points=3),
    Stream(
        "ad_click", (0.3, 0.25, 0.2, 0.25), channels=("paid_search", "paid_social"), campaign="ads", late=0.2
    ),
    Stream("social_follow", (0.06, 0.08, 0.12, 0.04), channels=("social",), late=0.2, points=2),
    Stream("social_reaction", (0.14, 0.16, 0.3, 0.06), channels=("social",), late=0.2, points=1),
    Stream("product_use", (1.3, 0.8, 0.3, 0.12), channels=("product",), late=0.1, seconds=600, points=3),
    Stream("milestone", (0.26, 0.1, 0.03, 0.01), channels=("product",), late=0.1, points=5),
    Stream("limit_hit", (0.12, 0.05, 0.01, 0.005), channels=("product",), points=5),
)

DEFAULT_WORLD = World(
    intents=_INTENTS,
    attributes=_ATTRIBUTES,
    streams=_STREAMS,
    start=epoch(datetime(2024, 1, 1, tzinfo=UTC)),
    end=epoch(datetime(2026, 1, 1, tzinfo=UTC)),
)
