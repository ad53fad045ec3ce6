"""The world of ``leadloop demo``: a company that sells software to companies, two years of its CRM.

Rows and columns of figures are, in this order, buyers, evaluators, learners and strays. Everybody visits,
opens mails and clicks ads; buyers look at products and prices, and ask. A rule that adds up points calls half
of all leads an MQL, because enough small things add up to one request.
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
            (19, 19, 12, 13, 7, 7, 11, 12),
            (16, 18, 12, 12, 10, 8, 13, 11),
            (13, 17, 13, 10, 14, 9, 14, 10),
            (12, 16, 13, 10, 15, 9, 15, 10),
        ),
        missing=0.12,
    ),
    Attribute(
        "job_role",
        ("operations", "it", "marketing", "sales", "finance", "research", "student", "other"),
        (
            (24, 23, 13, 10, 12, 8, 2, 8),
            (20, 21, 15, 11, 9, 11, 4, 9),
            (14, 17, 17, 11, 6, 13, 11, 11),
            (11, 13, 17, 14, 5, 12, 15, 13),
        ),
        missing=0.1,
    ),
    Attribute(
        "seniority",
        ("executive", "director", "manager", "specialist", "entry"),
        ((14, 30, 37, 16, 3), (10, 21, 36, 27, 6), (5, 8, 22, 43, 22), (4, 6, 15, 40, 35)),
        missing=0.15,
    ),
    Attribute(
        "company_size",
        (1, 11, 51, 201, 1001, 5001, 40001),
        ((4, 13, 29, 31, 16, 7), (9, 19, 27, 24, 14, 7), (25, 24, 19, 14, 10, 8), (41, 24, 13, 9, 7, 6)),
        missing=0.2,
    ),
    Attribute(
        "country",
        ("DE", "AT", "CH", "NL", "FR", "GB", "US", "IN"),
        (
            (35, 8, 9, 8, 9, 10, 14, 7),
            (33, 8, 8, 8, 9, 11, 14, 9),
            (30, 7, 7, 8, 9, 11, 16, 12),
            (28, 7, 7, 8, 9, 11, 17, 13),
        ),
        missing=0.03,
    ),
    Attribute(
        "first_channel",
        ("organic_search", "paid_search", "paid_social", "referral", "email", "direct", "partner"),
        (
            (28, 18, 10, 13, 8, 14, 9),
            (29, 18, 12, 11, 9, 14, 7),
            (30, 16, 19, 7, 10, 14, 4),
            (28, 17, 22, 6, 8, 16, 3),
        ),
        missing=0.02,
    ),
    Attribute("business_email", (0, 1, 2), ((5, 95), (13, 87), (47, 53), (72, 28))),
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
            (6, 10, 6, 22, 15, 12, 10, 14, 5),
            (13, 19, 10, 17, 13, 12, 9, 5, 2),
            (27, 33, 14, 7, 6, 8, 4, 0.7, 0.3),
            (35, 30, 8, 4, 3, 11, 8, 0.6, 0.4),
        ),
    ),
    Attribute(
        "timeline",
        ("this quarter", "this year", "next year", "no project"),
        ((43, 41, 11, 5), (20, 38, 25, 17), (3, 11, 23, 63), (2, 5, 13, 80)),
        missing=0.4,
        asked=25,
    ),
    Attribute(
        "budget",
        (0, 1_000, 10_000, 50_000, 250_000),
        ((10, 33, 40, 17), (25, 36, 28, 11), (64, 23, 9, 4), (78, 15, 5, 2)),
        missing=0.55,
        asked=30,
    ),
)

_WEB = ("direct", "organic_search", "paid_search", "referral")
_ADS = ("paid_search", "paid_social")
_STREAMS = (
    Stream("visit", (3.2, 2.9, 2.5, 2.0), channels=_WEB, seconds=150, points=1),
    Stream("page_view", (4.2, 3.8, 3.3, 2.6), channels=_WEB, seconds=50, points=1),
    Stream("product_view", (2.0, 0.95, 0.28, 0.11), channels=_WEB, seconds=70, points=2),
    Stream("pricing_view", (1.1, 0.4, 0.07, 0.04), channels=_WEB, seconds=60, points=5),
    Stream("download", (0.26, 0.28, 0.32, 0.11), "Trends white paper", "awareness", points=8),
    Stream("download", (0.62, 0.28, 0.06, 0.014), "Buyer's guide", "consideration", points=8),
    Stream("webinar", (0.13, 0.14, 0.15, 0.04), "Industry outlook", "awareness", late=0.5, points=10),
    Stream("webinar", (0.45, 0.23, 0.06, 0.016), "Product tour", "consideration", late=0.5, points=10),
    Stream("signup", (0.2, 0.12, 0.05, 0.04), "Free trial", "decision", points=15),
    Stream("demo_request", (0.36, 0.06, 0.006, 0.003), "Live demo", "decision", points=30),
    Stream("price_request", (0.2, 0.04, 0.005, 0.003), "Quote", "decision", amount=1_500_000, points=30),
    Stream("contact_request", (0.22, 0.09, 0.03, 0.03), "Contact form", "decision", points=25),
    Stream("availability_request", (0.07, 0.035, 0.013, 0.01), points=20),
    Stream("email_subscribe", (0.1, 0.1, 0.1, 0.1), "Newsletter", "awareness", points=3),
    Stream("email_unsubscribe", (0.06, 0.065, 0.07, 0.08), channels=("email",)),
    Stream("email_open", (2.0, 1.9, 1.8, 1.3), channels=("email",), campaign="newsletter", points=1),
    Stream("email_click", (1.0, 0.53, 0.24, 0.06), channels=("email",), campaign="newsletter", points=3),
    Stream("ad_click", (0.24, 0.24, 0.24, 0.24), channels=_ADS, campaign="ads", late=0.2),
    Stream("social_follow", (0.08, 0.08, 0.09, 0.08), channels=("social",), late=0.2, points=2),
    Stream("social_reaction", (0.19, 0.19, 0.2, 0.15), channels=("social",), late=0.2, points=1),
    Stream("product_use", (1.7, 0.77, 0.21, 0.08), channels=("product",), late=0.1, seconds=600, points=3),
    Stream("milestone", (0.24, 0.11, 0.04, 0.02), channels=("product",), late=0.1, points=5),
    Stream("limit_hit", (0.11, 0.05, 0.015, 0.008), channels=("product",), points=5),
)

DEFAULT_WORLD = World(
    intents=_INTENTS,
    attributes=_ATTRIBUTES,
    streams=_STREAMS,
    start=epoch(datetime(2024, 1, 1, tzinfo=UTC)),
    end=epoch(datetime(2026, 1, 1, tzinfo=UTC)),
)
