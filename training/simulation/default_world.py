"""The world of ``leadloop demo``: a company that sells software to companies, two years of its CRM.

Rows and columns of figures are, in this order, buyers, evaluators, learners and strays. Everybody visits,
opens mails and clicks ads; buyers look at products and prices, and ask. A rule that adds up points calls half
of all leads an MQL, because enough small things add up to one request.
"""

from __future__ import annotations

from datetime import UTC, datetime

from features.clock import to_epoch
from training.simulation.world import Attribute, Intent, Stream, World

_INTENTS = (
    Intent("buyer", 0.18, days_to_sql=48, days_to_disqualified=500),
    Intent("evaluator", 0.2, days_to_sql=400, days_to_disqualified=400),
    Intent("learner", 0.4, days_to_sql=4000, days_to_disqualified=300),
    Intent("stray", 0.22, days_to_sql=9000, days_to_disqualified=75),
)

_ATTRIBUTES = (
    Attribute(
        "industry",
        ("manufacturing", "software", "retail", "logistics", "education", "public", "consulting", "health"),
        (
            (15, 18, 13, 11, 11, 8, 13, 11),
            (15, 18, 13, 11, 12, 8, 13, 11),
            (14, 17, 13, 11, 12, 9, 14, 10),
            (14, 17, 13, 11, 13, 9, 14, 10),
        ),
        missing=0.12,
    ),
    Attribute(
        "job_role",
        ("operations", "it", "marketing", "sales", "finance", "research", "student", "other"),
        (
            (20, 21, 15, 11, 9, 10, 4, 9),
            (18, 20, 16, 11, 8, 11, 6, 10),
            (15, 17, 16, 12, 7, 12, 10, 11),
            (13, 16, 17, 12, 6, 12, 12, 11),
        ),
        missing=0.1,
    ),
    Attribute(
        "seniority",
        ("executive", "director", "manager", "specialist", "entry"),
        (
            (14, 33, 40, 12, 1),
            (11, 23, 37, 24, 5),
            (5, 8, 21, 43, 23),
            (2, 3, 11, 43, 40),
        ),
        missing=0.15,
    ),
    Attribute(
        "company_size",
        (1, 11, 51, 201, 1001, 5001, 40001),
        (
            (4, 13, 30, 31, 16, 7),
            (9, 18, 27, 24, 14, 8),
            (26, 24, 19, 14, 10, 8),
            (40, 24, 13, 9, 7, 6),
        ),
        missing=0.2,
    ),
    Attribute(
        "country",
        ("DE", "AT", "CH", "NL", "FR", "GB", "US", "IN"),
        (
            (31, 7, 8, 8, 9, 11, 15, 10),
            (31, 7, 8, 8, 9, 11, 15, 11),
            (31, 7, 7, 8, 9, 11, 16, 11),
            (31, 7, 7, 8, 9, 11, 16, 11),
        ),
        missing=0.03,
    ),
    Attribute(
        "first_channel",
        ("organic_search", "paid_search", "paid_social", "referral", "email", "direct", "partner"),
        (
            (29, 17, 14, 10, 9, 14, 6),
            (29, 17, 15, 9, 9, 14, 6),
            (29, 17, 17, 8, 9, 15, 5),
            (29, 17, 18, 8, 9, 15, 4),
        ),
        missing=0.02,
    ),
    Attribute(
        "business_email",
        (0, 1, 2),
        (
            (3, 97),
            (11, 89),
            (49, 51),
            (76, 24),
        ),
    ),
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
            (5, 10, 7, 24, 17, 11, 8, 13, 4),
            (12, 19, 10, 17, 13, 12, 9, 5, 2),
            (28, 31, 12, 7, 6, 10, 6, 0.9, 0.4),
            (36, 34, 10, 3, 3, 8, 5, 0.3, 0.2),
        ),
    ),
    Attribute(
        "timeline",
        ("this quarter", "this year", "next year", "no project"),
        (
            (40, 46, 11, 3),
            (22, 40, 23, 15),
            (3, 11, 22, 64),
            (0.8, 3, 13, 84),
        ),
        missing=0.4,
        days_to_answer=25,
    ),
    Attribute(
        "budget",
        (0, 1_000, 10_000, 50_000, 250_000),
        (
            (10, 34, 40, 16),
            (26, 36, 27, 11),
            (63, 23, 10, 4),
            (79, 15, 4, 2),
        ),
        missing=0.55,
        days_to_answer=30,
    ),
)

_WEB = ("direct", "organic_search", "paid_search", "referral")
_ADS = ("paid_search", "paid_social")
_STREAMS = (
    Stream("visit", (2.6, 2.6, 2.6, 2.6), channels=_WEB, seconds=150, points=1),
    Stream("page_view", (3.4, 3.4, 3.4, 3.4), channels=_WEB, seconds=50, points=1),
    Stream("product_view", (2.3, 0.91, 0.23, 0.1), channels=_WEB, seconds=70, points=2),
    Stream("pricing_view", (1.1, 0.36, 0.065, 0.026), channels=_WEB, seconds=60, points=5),
    Stream("download", (0.33, 0.28, 0.22, 0.17), "Trends white paper", "awareness", points=8),
    Stream("download", (0.84, 0.25, 0.041, 0.014), "Buyer's guide", "consideration", points=8),
    Stream("webinar", (0.18, 0.14, 0.096, 0.067), "Industry outlook", "awareness", late=0.5, points=10),
    Stream("webinar", (0.6, 0.21, 0.043, 0.016), "Product tour", "consideration", late=0.5, points=10),
    Stream("signup", (0.16, 0.11, 0.065, 0.049), "Free trial", "decision", points=15),
    Stream("demo_request", (0.3, 0.057, 0.0052, 0.0014), "Live demo", "decision", points=30),
    Stream("price_request", (0.17, 0.038, 0.0046, 0.0015), "Quote", "decision", amount=1_500_000, points=30),
    Stream("contact_request", (0.19, 0.093, 0.033, 0.019), "Contact form", "decision", points=25),
    Stream("availability_request", (0.053, 0.034, 0.018, 0.013), points=20),
    Stream("email_subscribe", (0.1, 0.1, 0.1, 0.1), "Newsletter", "awareness", points=3),
    Stream("email_unsubscribe", (0.07, 0.07, 0.07, 0.07), channels=("email",)),
    Stream("email_open", (1.7, 1.7, 1.7, 1.7), channels=("email",), campaign="newsletter", points=1),
    Stream("email_click", (1.3, 0.55, 0.16, 0.074), channels=("email",), campaign="newsletter", points=3),
    Stream("ad_click", (0.24, 0.24, 0.24, 0.24), channels=_ADS, campaign="ads", late=0.2),
    Stream("social_follow", (0.084, 0.084, 0.084, 0.084), channels=("social",), late=0.2, points=2),
    Stream("social_reaction", (0.19, 0.19, 0.19, 0.19), channels=("social",), late=0.2, points=1),
    Stream("product_use", (1.4, 0.75, 0.29, 0.17), channels=("product",), late=0.1, seconds=600, points=3),
    Stream("milestone", (0.15, 0.11, 0.062, 0.045), channels=("product",), late=0.1, points=5),
    Stream("limit_hit", (0.036, 0.036, 0.036, 0.036), channels=("product",), points=5),
)

DEFAULT_WORLD = World(
    intents=_INTENTS,
    attributes=_ATTRIBUTES,
    streams=_STREAMS,
    start=to_epoch(datetime(2024, 1, 1, tzinfo=UTC)),
    end=to_epoch(datetime(2026, 1, 1, tzinfo=UTC)),
)
